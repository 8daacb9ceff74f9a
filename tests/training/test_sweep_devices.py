"""One sweep over numbers of processes, counted from outside: processes, run folders, runs of Weights & Biases."""

import csv
import json
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.held_training import CountStarts
from tests.training.test_launcher import PLAIN, alone, start

__all__ = ["alone"]  # a fixture that clears the environment


@pytest.mark.slow
def test_a_sweep_over_the_number_of_processes(tmp_path: Path) -> None:
    counted = CountStarts(tmp_path / "counted")
    options = [*TINY, *PLAIN, "trainer=ddp_cpu", "trainer.max_steps=1", "logger=wandb", "name=s"]
    points = ("trainer.devices=2,1", "data.batch_size=2,3")
    sweep = start(tmp_path, "-m", *options, *points, before=counted, environment={"WANDB_MODE": "offline"})
    out = sweep.communicate(timeout=280)[0]
    assert sweep.returncode == 1, out
    assert "of 4 points: 1 failed" in out
    # no point is trained in the sweep's own process, and a batch of 3 on two is refused before any is started
    assert counted.found() == {"restore.fit alone": 1, "restore.training.worker 0": 3, "restore.training.worker 1": 1}
    folder = tmp_path / "multirun" / "s"
    with (folder / "summary.csv").open() as file:
        summary = {row["point"]: row for row in csv.DictReader(file)}
    names = {(n, size): f"data.batch_size={size} trainer.devices={n}" for n in (2, 1) for size in (2, 3)}
    failed = summary.pop(names[2, 3])
    assert failed["status"] == "failed"
    assert failed["message"].startswith("data.batch_size is 3")
    assert not (folder / failed["folder"] / "config.yaml").exists()
    assert {point: row["status"] for point, row in summary.items()} == dict.fromkeys(
        (names[2, 2], names[1, 2], names[1, 3]), "finished"
    )
    folders = {point: folder / row["folder"] for point, row in summary.items()}
    results = {point: json.loads((each / "result.json").read_text()) for point, each in folders.items()}
    assert {point: result["processes"] for point, result in results.items()} == {
        names[2, 2]: 2,
        names[1, 2]: 1,
        names[1, 3]: 1,
    }
    # each in a run of its own, also the two that share a process
    tokens = sorted((each / "run_token").read_text() for each in folders.values())
    runs = sorted(path.name.rsplit("-", 1)[1] for path in tmp_path.rglob("offline-run-*-*") if path.is_dir())
    assert runs == tokens
    assert len(set(runs)) == 3
