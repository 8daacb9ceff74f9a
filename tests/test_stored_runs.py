"""Runs that the commit 54688e5 made, before the modules got their present places: all of it must still open.

Each archive holds ``killed``, a run that ended by SIGKILL in its last step, and of ``whole``, the same run to its end,
``metrics.csv`` and ``result.json``.
"""

import csv
import json
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.conftest import Cli, photo

STORED = Path(__file__).parent / "stored_runs"
METHODS = ("super_resolution", "deblur", "translation", "zero_shot")
UNSTABLE = ("samples_per_s", "data_share")  # columns of times


def stored(name: str, folder: Path) -> None:
    with tarfile.open(STORED / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    return [{key: float(value) for key, value in row.items() if value and key not in UNSTABLE} for row in found]


@pytest.mark.usefixtures("whole_photos")
@pytest.mark.parametrize("method", METHODS)
def test_a_stored_run_is_resumed_and_its_checkpoint_opened(cli: Cli, tmp_path: Path, method: str) -> None:
    stored(method, tmp_path / "outputs")
    run = tmp_path / "outputs" / method / "killed"
    if method == "zero_shot":
        (tmp_path / "outputs" / method / "photo.png").rename(tmp_path / "photo.png")
    overrides = yaml.safe_load((run / "overrides.yaml").read_text())
    overrides += {
        "deblur": ["model.squeeze=16"],  # the presets' value when this run began
        "translation": ["checkpoint.keep=best"],  # the default
    }.get(method, [])
    outcome = cli("fit", *overrides)
    assert outcome.status == 0, outcome.err
    assert "resumed at step" in outcome.out + outcome.err
    # to the last digit on the machine that stored it; another processor adds up in another order
    expected, found = rows(run.parent / "whole"), rows(run)
    assert len(found) == len(expected)
    for before, now in zip(expected, found, strict=True):
        assert now == pytest.approx(before, rel=2e-3)
    result = json.loads((run / "result.json").read_text())
    assert result["monitor"] == json.loads((run.parent / "whole" / "result.json").read_text())["monitor"]

    best, picture = run / "checkpoints" / "best.ckpt", photo(tmp_path / "in.png", 24, 24)
    outcome = cli("predict", f"ckpt_path={best}", f"input={picture}", "output=out.png")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "out.png").exists()
    outcome = cli("export", f"ckpt_path={best}", "format=safetensors", "output=weights.safetensors")
    assert outcome.status == 0, outcome.err
    outcome = cli("predict", "ckpt_path=weights.safetensors", f"input={picture}", "output=again.png")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()


def test_a_stored_run_is_evaluated(cli: Cli, tmp_path: Path) -> None:
    stored("super_resolution", tmp_path / "outputs")
    photo(tmp_path / "set" / "a.png")
    best = tmp_path / "outputs" / "super_resolution" / "killed" / "checkpoints" / "best.ckpt"
    outcome = cli("evaluate", f"ckpt_path={best}", "benchmarks=[set]", "output=scores")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "scores" / "results.json").exists()


def test_a_stored_sweep_is_finished_and_compared(cli: Cli, tmp_path: Path) -> None:
    stored("sweep", tmp_path / "multirun")
    outcome = cli("table", "multirun/sweep")
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("| finished |") >= 2
    summary = (tmp_path / "multirun" / "sweep" / "summary.md").read_text()
    point = next((tmp_path / "multirun" / "sweep").glob("callbacks*/overrides.yaml"))
    common = [each for each in yaml.safe_load(point.read_text()) if not each.startswith("seed=")]
    outcome = cli("fit", "-m", *common, "seed=0,1")
    assert outcome.status == 0, outcome.err
    again = (tmp_path / "multirun" / "sweep" / "summary.md").read_text()
    assert [line.split("|")[1:4] for line in again.splitlines()] == [
        line.split("|")[1:4] for line in summary.splitlines()
    ]
