import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from restore.config import command_line
from restore.io.errors import SettingError


@pytest.mark.parametrize(
    "name",
    [
        "my photo (1).jpg",
        "a\\b.jpg",
        'q"x.png',
        "end\\",
        "a'b.jpg",
        'a\\"b',
        "a,b.png",
        "[x].png",
        "*.jpg",
        "null",
        "1",
    ],
)
def test_a_plain_word_is_read_back_by_hydra_as_it_was_typed(name: str) -> None:
    (word,) = command_line.named([name], "input")
    assert OverridesParser.create().parse_override(word).value() == name


def test_flags_their_values_and_settings_are_left_alone() -> None:
    given = ["--config-dir", "mine", "-c", "job", "--run", "~logger", "scale=2", "a.png"]
    assert command_line.named(given, "input") == [*given[:-1], 'input="a.png"']
    assert command_line.overrides(given) == ["~logger", "scale=2", "a.png"]
    assert (
        command_line.value_of(given, "--config-dir", "-cd")
        == command_line.value_of(["--config-dir=mine"], "--config-dir")
        == "mine"
    )


def test_several_plain_words_are_refused() -> None:
    with pytest.raises(SettingError) as error:
        command_line.named(["a.png", "scale=2", "b.png"], "input")
    assert error.value.key == "input"
