"""docs/adding_a_method.md, done literally in a copy: the files it touches, and a method that trains and restores."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import photo

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "adding_a_method.md"
TABLE = "METHODS = {\n"


# the tests of the method, then its commands, in one process: each process imports Lightning, which takes longer
DONE = """
import ast, importlib, os, sys
import pytest
chosen = ["tests/test_fit.py", "tests/config/test_config.py", "-k", "one_convolution", "-m", "not slow"]
assert pytest.main([*chosen, "--basetemp=temporary"]) == 0
os.chdir(sys.argv[2])
for command, *words in ast.literal_eval(sys.argv[1]):
    sys.argv = [command, *words]
    try:
        importlib.import_module(f"restore.{command}").main()
    except SystemExit as end:
        assert not end.code, end.code
"""


def steps() -> list[tuple[str, str]]:
    """(file, what is written there) for each numbered step; nothing for a step without a block."""
    parts = re.split(r"^\d+\. ", PAGE.read_text().partition("## What the contract means")[0], flags=re.MULTILINE)[1:]
    found = []
    for part in parts:
        block = re.search(r"^   ```\w+\n(.*?)^   ```$", part, flags=re.MULTILINE | re.DOTALL)
        found.append((part.split("`")[1], textwrap.dedent(block[1].replace("\n   ", "\n")[3:]) if block else ""))
    return found


@pytest.mark.slow
def test_the_page_done_literally_adds_a_method(tmp_path: Path) -> None:
    for folder in ("restore", "conf", "tests"):
        skipped = shutil.ignore_patterns("__pycache__", "stored_runs")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    touched = steps()
    assert [file for file, _ in touched] == [
        "restore/networks/one_convolution.py",
        "restore/models/one_convolution.py",
        "conf/model/one_convolution.yaml",
        "restore/models/loading.py",
        "tests/test_fit.py",
        "CHANGELOG.md",
    ]
    for file, text in touched[:5]:
        path = tmp_path / file
        if path.exists():
            before = path.read_text()
            assert before.count(TABLE) == 1
            text = before.replace(TABLE, TABLE + textwrap.indent(textwrap.dedent(text), "    "))
        path.write_text(text)

    own = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    lint = [sys.executable, "-m", "ruff", "check", *(file for file, _ in touched[:2])]
    assert subprocess.run(lint, cwd=tmp_path, env=own, check=False).returncode == 0
    work, image = tmp_path / "work", photo(tmp_path / "work" / "in.png")
    trained = ["fit", "model=one_convolution", "data=synthetic_blur", "trainer=smoke", "run_id=a"]
    opened = [
        "predict",
        "ckpt_path=outputs/one_convolution/a/checkpoints/best.ckpt",
        f"input={image}",
        "output=out.png",
    ]
    argv = [sys.executable, "-c", DONE, repr([trained, opened]), str(work)]
    done = subprocess.run(argv, cwd=tmp_path, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (work / "out.png").exists()
