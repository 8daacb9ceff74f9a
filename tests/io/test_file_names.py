"""Images whose names are bytes that are no UTF-8, as archives from other systems leave them."""

import csv
import json
import os
import sys
from pathlib import Path

import pytest

from restore.io.files import encodable, printable
from tests.conftest import TINY, Cli, photo

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere names of files are text")
FOLDER = ("data=sr_folder", "data.root=photos", "data.validation=1", "data.num_workers=0")
ESCAPED = r"caf\xe9"


@pytest.fixture(autouse=True)
def odd(tmp_path: Path) -> Path:
    for k in range(3):
        photo(tmp_path / "photos" / f"{k}.png", seed=k)
    name = Path(os.fsdecode(os.fsencode(tmp_path / "photos") + b"/caf\xe9.png"))  # behind the digits: the one held out
    return (tmp_path / "photos" / "2.png").rename(name)


def column(file: Path, name: str) -> list[str]:
    with file.open(encoding="utf-8") as lines:
        return [row[name] for row in csv.DictReader(lines)]


def test_names_become_text_that_every_file_takes() -> None:
    assert printable(os.fsdecode(b"caf\xe9\n")) == ESCAPED + r"\n"
    assert printable("café 日本") == encodable("café 日本") == "café 日本"
    assert encodable("two\nlines \ud800") == "two\nlines " + r"\ud800"


def test_a_run_on_such_images_writes_their_names_escaped(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("fit", *TINY, *FOLDER, "run_id=x", "val_every_steps=2")
    assert outcome.status == 0, outcome.err
    folder = tmp_path / "outputs" / "super_resolution" / "x"
    assert column(folder / "results.csv", "image") == [ESCAPED]
    assert ESCAPED in (folder / "report.html").read_text(encoding="utf-8")
    assert sorted(each.name for each in (folder / "panels").iterdir()) == [f"{ESCAPED}_{k:07d}.png" for k in (2, 4)]


def test_evaluate_and_predict_take_such_images(cli: Cli, tmp_path: Path) -> None:
    scored = cli("evaluate", "ckpt_path=bicubic", "scale=2", "benchmarks=[photos]", "output=scored", "save_images=true")
    assert scored.status == 0, scored.err
    assert column(tmp_path / "scored" / "results.csv", "image") == ["0", "1", ESCAPED]
    json.loads((tmp_path / "scored" / "results.json").read_text(encoding="utf-8"))
    assert (tmp_path / "scored" / "images" / "bicubic" / "photos" / f"{ESCAPED}.png").is_file()
    for _ in range(2):
        restored = cli("predict", "ckpt_path=bicubic", "scale=2", "input=photos", "output=large")
        assert restored.status == 0, restored.err
    assert "3 were done before" in restored.out + restored.err
    # what is restored keeps its name's bytes
    assert b"caf\xe9_x2.png" in {os.fsencode(each.name) for each in (tmp_path / "large").iterdir()}


@pytest.mark.parametrize(
    ("command", "options"),
    [("fit", (*TINY, *FOLDER)), ("predict", ("ckpt_path=bicubic", "scale=2", "input=photos", "output=large"))],
)
def test_a_damaged_one_is_named_so_that_it_can_be_read(
    cli: Cli, odd: Path, command: str, options: tuple[str, ...]
) -> None:
    odd.write_bytes(odd.read_bytes()[:200])
    outcome = cli(command, *options)
    assert outcome.status == 1
    assert rf"photos/{ESCAPED}.png" in outcome.err
    assert "Traceback" not in outcome.err
    assert "surrogates" not in outcome.err + outcome.out
