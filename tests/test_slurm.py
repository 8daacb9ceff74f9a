"""Jobs of two processes on a real Slurm: warned of their end and requeued, launched wrongly."""

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

import tests.slurm_cluster as slurm_cluster
from restore.io.files import read_mapping
from tests import fork_server
from tests.conftest import blurred_pair, required
from tests.docs_lines import ROOT, lines_for, smaller
from tests.held_training import first_of_all, held, release
from tests.slurm_cluster import Cluster
from tests.stand_in_training import environment

pytestmark = pytest.mark.slow

FIT = (
    f"{sys.executable} -m restore.fit trainer=slurm trainer.accelerator=cpu model=super_resolution_tiny "
    "data.batch_size=2 data.patch_size=32 data.val_limit=1 data.num_workers=0 callbacks.progress=null "
    "callbacks.panels=null threads=1 trainer.log_every_n_steps=1 "
)
NAME = "super_resolution"
STEPS, HELD = 12, 6  # of the job that is queued again: it waits before a batch


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    required("slurm", slurm_cluster.is_possible())
    with FileLock(Path(tempfile.gettempdir()) / "restore_test_slurm.lock"):  # one at a time on a machine
        cluster = Cluster(tmp_path_factory.mktemp("slurm"))
        yield cluster
        cluster.stop()


def run_folder(tmp_path: Path, run_id: str) -> Path:
    return tmp_path / "outputs" / NAME / run_id


def weights(folder: Path) -> dict[str, torch.Tensor]:
    stored: dict[str, Any] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert stored["global_step"] == STEPS
    return dict(stored["state_dict"]) | {f"average of {key}": value for key, value in stored["ema"].items()}


@pytest.mark.parametrize(
    ("options", "line", "words"),
    [
        # no srun: one process, which would wait for the other
        (["--ntasks-per-node=2"], FIT.replace("=slurm", "=ddp_cpu"), "start it with srun"),
        (["--ntasks-per-node=2"], f"srun {FIT} trainer.devices=3", "trainer.devices is 3"),
    ],
)
def test_a_wrong_launch_is_refused(cluster: Cluster, tmp_path: Path, options: list[str], line: str, words: str) -> None:
    job = cluster.submit(f"#!/bin/bash\n{line} trainer.max_steps=2 run_id=a\n", cwd=tmp_path, options=options)
    assert cluster.wait_for_end(job) == "FAILED"
    assert words in (tmp_path / f"{job}.out").read_text()
    assert not (run_folder(tmp_path, "a") / "config.yaml").exists()


def test_the_batch_script_of_the_documents_trains(cluster: Cluster, tmp_path: Path) -> None:
    """And ends with the weights of an undisturbed run, although queued again.

    Handed in as the documents say, with one node in place of two, two tasks in place of four, and the training made
    small. It queues itself again when Slurm warns of the end of its time. Its name is one that Lightning takes for a
    person's session, in which every task trains for itself.
    """
    (line,) = lines_for("tests/test_slurm.py::test_the_batch_script_of_the_documents_trains")
    handing_in, script = line.text.split()
    given = (ROOT / script).read_text()
    start = next(each for each in given.splitlines() if each.startswith("srun "))
    before, module, words = start.partition(" -m restore.")
    steps = (f"trainer.max_steps={STEPS}", "checkpoint.every_steps=5", "val_every_steps=6")
    fewer = [*(word for word in smaller(words.split()) if not word.startswith("run_id=")), *steps]  # called as the job
    small = shlex.join(fewer).replace("'data.root=$DATA/GoPro'", "data.root=$DATA/GoPro")
    (tmp_path / Path(script).name).write_text(given.replace(start, f"{before}{module}{small}"))
    sequences = {"train": "ab", "test": "c"}
    for folder in (tmp_path / "data/GoPro" / part / name for part, names in sequences.items() for name in names):
        blurred_pair(folder, "000001", seed=ord(folder.name))
    alone = [{"trainer=slurm": "trainer=ddp_cpu"}.get(word, word).replace("$DATA", "data") for word in fewer]
    undisturbed = fork_server.start("-m", "restore.fit", *alone[1:], "run_id=undisturbed", cwd=tmp_path)
    said = undisturbed.communicate(timeout=300)[0]
    assert undisturbed.returncode == 0, said

    size = ("--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=1", "--job-name=interactive", "--output=%j.out")
    own = {
        "DATA": str(tmp_path / "data"),
        "PATH": f"{Path(sys.executable).parent}:{cluster.environment['PATH']}",  # the script's `python` is this one
    } | first_of_all(tmp_path, "restore.fit", f"from tests.held_training import HoldAt; HoldAt({(HELD,)})()")
    found = re.search(r"\d+", cluster.run(handing_in, *size, Path(script).name, cwd=tmp_path, **own))
    assert found
    job, log = found[0], tmp_path / f"{found[0]}.out"
    folder = tmp_path / "outputs" / "deblur" / job
    cluster.wait(lambda: held(folder, 2), f"batch {HELD}", is_in_vain=lambda: cluster.is_over(job))
    release(folder, HELD)
    cluster.run("scancel", "--signal=USR1", job)
    assert cluster.wait_for_end(job) == "COMPLETED", log.read_text()
    assert log.read_text().count("resumed at step") == 1, log.read_text()
    expected, found_weights = weights(folder.parent / "undisturbed"), weights(folder)
    assert expected.keys() == found_weights.keys()
    assert all(torch.equal(expected[key], found_weights[key]) for key in expected)
    assert [start["processes"] for start in read_mapping(folder / "environment.json")["starts"]] == [2, 2]
    result = read_mapping(folder / "result.json")
    assert (result["processes"], result["steps"]) == (2, STEPS)


def test_points_of_a_sweep_are_jobs(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is warned of the end of its time is queued again and goes on, while the sweep waits.

    Their trainings are stand-ins, of which the first point's waits until it is warned.
    """
    for key in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(key, cluster.environment[key])
    (line,) = lines_for("tests/test_slurm.py::test_points_of_a_sweep_are_jobs")
    words = {"hydra.launcher.partition=gpu": "hydra.launcher.partition=main", "name=seeds": "name=s"}
    sweep = [words.get(word, word) for word in smaller(line.restore or [])]
    command = [sys.executable, "-m", "restore.fit", *sweep[1:], "hydra.launcher.timeout_min=5"]
    with (tmp_path / "out").open("w") as log:
        running = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path, "0"), stdout=log, stderr=log)
    root = tmp_path / "multirun" / "s"

    def first_point() -> Path | None:
        records = [read_mapping(path) for path in (root / "points").glob("*.json")]
        return next((root / record["folder"] for record in records if record["number"] == 0), None)

    cluster.wait(
        lambda: (folder := first_point()) is not None and held(folder),
        "the first point",
        is_in_vain=lambda: running.poll() is not None,
    )
    array = next(root.glob(".submitit/*/*_submission.sh")).parent.name.partition("_")[0]
    cluster.run("scancel", "--signal=USR2", f"{array}_0")
    assert running.wait(timeout=300) == 0, (tmp_path / "out").read_text()
    results = [read_mapping(path) for path in root.glob("*/result.json")]
    assert len(results) == 2
    starts = [len(read_mapping(path)["starts"]) for path in root.glob("*/environment.json")]
    assert sorted(starts) == [1, 2]
    assert "interrupted" not in (root / "summary.md").read_text()
    assert len(list((root / ".submitit").glob("*/*_submission.sh"))) == 1  # an array of two
