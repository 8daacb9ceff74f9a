"""Jobs of two processes on a real Slurm: requeued in the middle, warned of their end, launched wrongly."""

import json
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
from tests.conftest import blurred_pair, required
from tests.docs_lines import ROOT, lines_for, smaller
from tests.slurm_cluster import Cluster

pytestmark = pytest.mark.slow

FIT = (
    f"{sys.executable} -m restore.fit trainer=slurm trainer.accelerator=cpu model=super_resolution_tiny "
    "data.batch_size=2 data.patch_size=32 data.val_limit=1 data.num_workers=0 callbacks.progress=null "
    "callbacks.panels=null threads=1 trainer.log_every_n_steps=1 "
)
STEPS = "trainer.max_steps=150 checkpoint.every_steps=10 val_every_steps=75 "
JOB = """#!/bin/bash
#SBATCH --ntasks-per-node=2 --requeue --open-mode=append
{line}
"""
NAME = "super_resolution"


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
    assert stored["global_step"] == 150
    return dict(stored["state_dict"]) | {f"average of {key}": value for key, value in stored["ema"].items()}


def steps_logged(folder: Path) -> int:
    file = folder / "metrics.csv"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_a_requeued_job_ends_with_the_weights_of_an_undisturbed_one(cluster: Cluster, tmp_path: Path) -> None:
    """Requeued once by the administrator, once by itself when Slurm warns of the end of its time."""
    whole = cluster.submit(JOB.format(line=f"srun {FIT}{STEPS} run_id=whole"), cwd=tmp_path)
    assert cluster.wait_for_end(whole) == "COMPLETED", (tmp_path / f"{whole}.out").read_text()

    line = f"srun {FIT}{STEPS}logger=wandb logger.wandb.offline=true"
    job = cluster.submit(JOB.format(line=line), cwd=tmp_path)
    folder = run_folder(tmp_path, job)  # the run is called as the job, which keeps its number
    cluster.wait(lambda: steps_logged(folder) > 20, "the first steps")
    cluster.run("scontrol", "requeue", job)
    before = steps_logged(folder)
    cluster.wait(lambda: steps_logged(folder) > before + 20, "steps of the second life")
    cluster.run("scancel", "--signal=USR1", job)  # what --signal=USR1@120 makes Slurm send
    assert cluster.wait_for_end(job) == "COMPLETED", (tmp_path / f"{job}.out").read_text()

    words = (tmp_path / f"{job}.out").read_text()
    assert words.count("resumed at step") == 2, words
    expected, found = weights(run_folder(tmp_path, "whole")), weights(folder)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    starts = read_mapping(folder / "environment.json")["starts"]
    assert [start["processes"] for start in starts] == [2, 2, 2]
    assert json.loads((folder / "result.json").read_text())["steps"] == 150
    token = (folder / "run_token").read_text()
    runs = [path.name for path in (folder / "wandb").glob("offline-run-*")]
    assert runs
    assert all(name.endswith(token) for name in runs)


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


def test_a_job_of_any_name_is_one_training(cluster: Cluster, tmp_path: Path) -> None:
    """Lightning takes jobs called bash or interactive for a person's session, in which every task trains for itself."""
    line = f"srun {FIT} trainer.max_steps=2 run_id=a"
    job = cluster.submit(JOB.format(line=line), cwd=tmp_path, options=["--job-name=interactive"])
    assert cluster.wait_for_end(job) == "COMPLETED", (tmp_path / f"{job}.out").read_text()
    assert json.loads((run_folder(tmp_path, "a") / "result.json").read_text())["processes"] == 2


def test_the_batch_script_of_the_documents_trains(cluster: Cluster, tmp_path: Path) -> None:
    """Handed in as they say, with one node in place of two, two tasks in place of four, and the training made small."""
    (line,) = lines_for("tests/test_slurm.py::test_the_batch_script_of_the_documents_trains")
    handing_in, script = line.text.split()
    given = (ROOT / script).read_text()
    start = next(each for each in given.splitlines() if each.startswith("srun "))
    before, module, words = start.partition(" -m restore.")
    fewer = [word for word in smaller(words.split()) if not word.startswith("run_id=")]  # it is called as the job
    small = shlex.join(fewer).replace("'data.root=$DATA/GoPro'", "data.root=$DATA/GoPro")
    (tmp_path / Path(script).name).write_text(given.replace(start, f"{before}{module}{small}"))
    sequences = {"train": "ab", "test": "c"}
    for folder in (tmp_path / "data/GoPro" / part / name for part, names in sequences.items() for name in names):
        blurred_pair(folder, "000001", seed=ord(folder.name))
    size = ("--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=1", "--output=%j.out")
    path = f"{Path(sys.executable).parent}:{cluster.environment['PATH']}"  # the script's `python` is this one
    handed_in = (handing_in, *size, Path(script).name)
    found = re.search(r"\d+", cluster.run(*handed_in, cwd=tmp_path, DATA=str(tmp_path / "data"), PATH=path))
    assert found
    job = found[0]
    assert cluster.wait_for_end(job) == "COMPLETED", (tmp_path / f"{job}.out").read_text()
    result = read_mapping(tmp_path / "outputs" / "deblur" / job / "result.json")
    assert (result["processes"], result["steps"]) == (2, 4)


def test_points_of_a_sweep_are_jobs(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is warned of the end of its time is queued again and goes on, while the sweep waits."""
    for key in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(key, cluster.environment[key])
    (line,) = lines_for("tests/test_slurm.py::test_points_of_a_sweep_are_jobs")
    words = {"hydra.launcher.partition=gpu": "hydra.launcher.partition=main", "name=seeds": "name=s"}
    sweep = [words.get(word, word) for word in smaller(line.restore or [])]
    longer = [*STEPS.split(), "trainer.log_every_n_steps=1", "threads=1", "hydra.launcher.timeout_min=5"]
    command = [sys.executable, "-m", "restore.fit", *sweep[1:], *longer]
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    root = tmp_path / "multirun" / "s"

    def first_point() -> Path | None:
        records = [read_mapping(path) for path in (root / "points").glob("*.json")]
        return next((root / record["folder"] for record in records if record["number"] == 0), None)

    cluster.wait(lambda: (folder := first_point()) is not None and steps_logged(folder) > 20, "the first steps")
    array = next(root.glob(".submitit/*/*_submission.sh")).parent.name.partition("_")[0]
    cluster.run("scancel", "--signal=USR2", f"{array}_0")
    said = running.communicate(timeout=250)[0]
    assert running.returncode == 0, said
    results = [read_mapping(path) for path in root.glob("*/result.json")]
    assert [result["steps"] for result in results] == [150, 150]
    starts = [len(read_mapping(path)["starts"]) for path in root.glob("*/environment.json")]
    assert sorted(starts) == [1, 2]
    assert "broken off" not in (root / "summary.md").read_text()
    assert len(list((root / ".submitit").glob("*/*_submission.sh"))) == 1  # an array of two
