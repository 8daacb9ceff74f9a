"""One writer of JSON, and it is strict."""

import json
import math
import os
import re
from pathlib import Path

from restore.io.files import as_json, json_text, read_mapping, write_json
from restore.runs.results import Partial

PACKAGE = Path(__file__).parents[2] / "restore"


def strict(text: str) -> object:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def test_numbers_that_json_lacks_are_words_and_names_of_any_bytes_are_kept(tmp_path: Path) -> None:
    content = {"a": [math.inf, -math.inf, (math.nan, 1.5)], "b": {"c": os.fsdecode(b"caf\xe9.png")}, "d": "猫"}
    assert strict(json_text(content)) == as_json(content)
    write_json(tmp_path / "a.json", content, indent=2)
    assert read_mapping(tmp_path / "a.json") == {"a": ["inf", "-inf", ["nan", 1.5]], "b": content["b"], "d": "猫"}


def test_a_header_of_http_holds_no_other_characters() -> None:
    text = json_text({"猫": [math.nan, "ü"]}, ascii_only=True)
    assert text.isascii()
    assert strict(text) == {"猫": ["nan", "ü"]}


def test_infinite_scores_of_an_interrupted_evaluation_stay_numbers(tmp_path: Path) -> None:
    path = tmp_path / "partial.json"
    Partial(path, {"max_seconds": math.inf}).add("a", {"psnr_y": math.inf, "image": "inf.png"})
    strict(path.read_text())
    assert Partial(path, {"max_seconds": math.inf}).rows == {"a": {"psnr_y": math.inf, "image": "inf.png"}}


def test_no_other_writer_of_json() -> None:
    writers = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if re.search(r"json\.dumps?\(", file.read_text(encoding="utf-8"))
    }
    assert writers == {"io/files.py"}
