"""The studies: their READMEs show what their CSV files say, and the index knows them all."""

import importlib
import os
import re
import subprocess
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


@pytest.mark.slow
@pytest.mark.parametrize("given", [[], ["--help"]])
def test_a_script_without_data_says_so_and_helps_all_the_same(given: list[str]) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "RESTORE_DATA"}
    argv = [
        sys.executable,
        "-m",
        "experiments.deblur.attention" if given else "experiments.deblur.richardson_lucy",
        *given,
    ]
    done = subprocess.run(argv, cwd=ROOT.parent, env=environment, capture_output=True, text=True, timeout=100)
    assert "Traceback" not in done.stderr
    assert ("RESTORE_DATA is not set, expected" in done.stderr) is not bool(given)
    assert (done.returncode == 0) is bool(given)
