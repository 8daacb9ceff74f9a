"""The studies: their READMEs show what their CSV files say, and the index knows them all."""

import importlib
import re
from pathlib import Path

import pytest

from experiments.readme import filled

ROOT = Path(__file__).parent.parent / "experiments"
STUDIES = sorted(path.name for path in ROOT.iterdir() if (path / "README.md").exists())


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_shows_what_its_files_say(study: str) -> None:
    tables = importlib.import_module(f"experiments.{study}.tables").TABLES
    text = (ROOT / study / "README.md").read_text(encoding="utf-8")
    assert filled(text, {name: make() for name, make in tables.items()}) == text


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_names_its_commands_and_shows_a_picture(study: str) -> None:
    text = (ROOT / study / "README.md").read_text(encoding="utf-8")
    assert re.search(r"restore[. ](fit|evaluate|predict) ", text)
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert pictures
    assert all((ROOT / study / picture).is_file() for picture in pictures)


def test_the_index_knows_every_study() -> None:
    index = (ROOT / "README.md").read_text(encoding="utf-8")
    assert STUDIES
    assert all(f"({study}/README.md)" in index for study in STUDIES)


def test_a_place_without_a_table_is_an_error() -> None:
    text = "a\n<!-- table: x -->\nold\n<!-- end -->\nb\n"
    assert filled(text, {"x": "new"}) == "a\n<!-- table: x -->\nnew\n<!-- end -->\nb\n"
    with pytest.raises(ValueError, match="marks"):
        filled(text, {"y": "new"})
