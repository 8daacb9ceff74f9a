"""The studies: their READMEs show what their CSV files say, and the index knows them all."""

import importlib
import json
import re
import runpy
import sys
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


@pytest.mark.parametrize("given", [[], ["--help"]])
def test_a_script_without_data_says_so_and_helps_all_the_same(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RESTORE_DATA", raising=False)
    script = "experiments.deblur.attention" if given else "experiments.deblur.richardson_lucy"
    monkeypatch.setattr(sys, "argv", [script, *given])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(script, run_name="__main__", alter_sys=True)
    said = f"{end.value.code} {capsys.readouterr().err}"  # a text as status is printed
    assert ("RESTORE_DATA is not set, expected" in said) is not bool(given)
    assert (end.value.code in (0, None)) is bool(given)


def numbers_of(facts: object) -> list[float]:
    """All numbers in nested JSON."""
    if isinstance(facts, dict | list):
        return [
            number for each in (facts.values() if isinstance(facts, dict) else facts) for number in numbers_of(each)
        ]
    return [float(facts)] if isinstance(facts, int | float) else []


@pytest.mark.parametrize("page", sorted((ROOT.parent / "docs" / "methods").glob("*.md")), ids=lambda page: page.stem)
def test_a_methods_page_shows_scores_that_its_study_or_its_weights_have(page: Path) -> None:
    study = (ROOT / page.stem / "README.md").read_text(encoding="utf-8")
    cards = [json.loads(card.read_text()) for card in (ROOT.parent / "restore" / "weights").glob(f"{page.stem}*.json")]
    measured = {f"{number:.{digits}f}".lstrip("0") for number in numbers_of(cards) for digits in (2, 3, 4)}
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    shown = [number.lstrip("0") for row in rows for number in re.findall(r"\d*\.\d{2,}", row)]
    assert shown
    assert [number for number in shown if number not in measured and number not in study] == []
