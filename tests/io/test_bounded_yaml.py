from pathlib import Path

import pytest
import yaml

from restore.io.bounded_yaml import load_yaml
from restore.io.files import read_mapping


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text", [laughs(9), "[" * 1000 + "]" * 1000, "a: " + "{b: " * 100 + "1" + "}" * 100, "- 1\n" * 100_001]
)
def test_what_is_too_large_when_written_out_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nodes"):
        load_yaml(text)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml is damaged"):
        read_mapping(tmp_path / "config.yaml")


def test_json_of_nested_brackets_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"a\.json is damaged"):
        read_mapping(tmp_path / "a.json")


def test_what_people_write_is_read() -> None:
    assert load_yaml("a: &x {b: [1, 2]}\nc: *x\nd: &y 3\ne: *y") == {
        "a": {"b": [1, 2]}, "c": {"b": [1, 2]}, "d": 3, "e": 3,
    }  # fmt: skip
    assert load_yaml("") is None
    assert load_yaml(laughs(3))["a2"][0][0] == ["x"] * 10
    with pytest.raises(yaml.YAMLError):
        load_yaml("[")
