"""Names as long as a disk takes them; whatever is too long is said before any work."""

import os
from pathlib import Path

import pytest

from restore.data.pair import Pair
from restore.io.errors import SettingError
from restore.io.files import refuse_unwritable, remove_temporaries, shortened, write_text
from tests.conftest import Cli, photo


@pytest.mark.parametrize("name", ["a" * 255, "猫" * 85, "a" * 240 + ".png", os.fsdecode(b"\xe9" * 255)])
def test_the_longest_names_can_be_written_and_leave_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_text(path, "x")
    assert [each.name for each in tmp_path.iterdir()] == [name]
    left = path.with_name(f".{shortened(name, 200)}.1.tmp")  # of a killed process
    left.touch()
    remove_temporaries(path)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_name_that_is_too_long_is_refused_before_work(tmp_path: Path) -> None:
    refuse_unwritable(tmp_path, ["a" * 255])
    with pytest.raises(SettingError) as refused:
        refuse_unwritable(tmp_path, ["b.png", "a" * 256])
    assert refused.value.key == "output"


def test_images_of_long_names_are_restored_or_refused_before_the_first(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "in" / f"{'a' * 240}.png", 8, 8)
    photo(tmp_path / "in" / "b.png", 8, 8)
    words = ("ckpt_path=bicubic", "scale=2", "input=in", "output=out")
    assert cli("predict", *words).status == 0
    assert (tmp_path / "out" / f"{'a' * 240}_x2.png").is_file()
    photo(tmp_path / "in" / f"{'a' * 250}.png", 8, 8)
    outcome = cli("predict", *words[:-1], "output=other")
    assert outcome.status == 1
    assert outcome.err.startswith("predict: output is ")
    assert list((tmp_path / "other").iterdir()) == []


def test_names_of_pairs_leave_room_for_what_is_appended() -> None:
    long = "é" * 120
    first, second = (Pair(f"street/{long}{end}", Path("a.png")).name for end in "12")
    assert first != second
    assert all(len(each.encode()) <= len("street/") + 230 for each in (first, second))
    assert Pair("street/000001", Path("a.png")).name == "street/000001"
