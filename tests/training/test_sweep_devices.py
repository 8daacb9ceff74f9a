"""One sweep over numbers of processes, counted from outside: processes, run folders, runs of Weights & Biases."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.training.test_launcher import PLAIN, alone, start

__all__ = ["alone"]  # a fixture that clears the environment

# written by every Python process that is started, before it does anything
COUNTER = """
import os, sys
if sys.orig_argv[1:2] == ["-m"]:
    with open(os.environ["COUNTED"], "a") as file:
        file.write(sys.orig_argv[2] + " " + os.environ.get("RANK", "alone") + "\\n")
"""


@pytest.mark.slow
def test_a_sweep_over_the_number_of_processes(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(COUNTER)
    counted, root = tmp_path / "counted", Path(__file__).parents[2]
    environment = {"COUNTED": str(counted), "PYTHONPATH": f"{tmp_path / 'site'}:{root}", "WANDB_MODE": "offline"}
    options = [*TINY, *PLAIN, "trainer=ddp_cpu", "trainer.max_steps=1", "logger=wandb", "name=s"]
    sweep = start(tmp_path, "-m", *options, "trainer.devices=2,1", "data.batch_size=2,3", **environment)
    out = sweep.communicate(timeout=280)[0]
    assert sweep.returncode == 1, out
    assert "of 4 points: 1 failed" in out
    # no point is trained in the sweep's own process, and a batch of 3 on two is refused before any is started
    ours = Counter(line for line in counted.read_text().splitlines() if line.startswith("restore."))
    assert ours == {"restore.fit alone": 1, "restore.training.worker 0": 3, "restore.training.worker 1": 1}
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
