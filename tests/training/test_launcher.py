"""Trainings on several processes, and sweeps of them, by the real commands."""

import csv
import json
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from restore.callbacks.non_finite import NonFiniteLoss, StopOnNonFinite
from restore.data.sampling import RunSampler
from restore.distributed import collectives, signals
from restore.distributed.environment import process_info
from restore.distributed.process_identity import ProcessIdentity
from restore.training import launcher
from tests import fork_server
from tests.conftest import TINY, TINY_DEBLUR, TINY_TRANSLATION, TINY_ZERO_SHOT, Cli, photo
from tests.docs_lines import lines_for, smaller
from tests.fork_server import Forked
from tests.held_training import CountStarts, HoldAt, release, wait_until_ended, wait_until_held
from tests.test_fit import last, run_folder, same_weights

ONE_IMAGE = ("data.root=photos", "data.validation=1", "data.num_workers=0")
PLAIN = ("callbacks.panels=null", "val_every_steps=10", "data.num_workers=0")
# a global batch of 2, so that each of two processes sees one sample
METHODS = {
    "super_resolution": (*TINY, *PLAIN, "data=photos_degraded"),
    "deblur": (*TINY_DEBLUR, *PLAIN, *ONE_IMAGE),
    "translation": (
        *TINY_TRANSLATION,
        *PLAIN,
        *ONE_IMAGE,
        "model.augment=[color,translation,cutout]",
        "model.adversarial=non_saturating",
    ),
}
TWENTY = ("trainer.max_steps=20", "checkpoint.every_steps=5")
EXACT = (*TWENTY, "trainer.precision=64-true")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name in ("LOCAL_RANK", "RANK", "WORLD_SIZE") or name.startswith(("SLURM_", "SUBMITIT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def photos(tmp_path: Path) -> None:
    for k in range(3):
        photo(tmp_path / "photos" / f"{k}.png", seed=k)


def start(
    tmp_path: Path,
    *options: str,
    environment: Mapping[str, str] = {},
    before: fork_server.Before | None = None,
) -> Forked:
    return fork_server.start("-m", "restore.fit", *options, cwd=tmp_path, env=os.environ | environment, before=before)


def run(tmp_path: Path, *options: str) -> str:
    process = start(tmp_path, *options)
    out = process.communicate(timeout=280)[0]
    assert process.returncode == 0, out
    return out


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def numbers(folder: Path) -> list[dict[str, float]]:
    clocks = ("samples_per_s", "data_share")
    return [{key: float(value) for key, value in row.items() if value and key not in clocks} for row in rows(folder)]


# trainings, given as JSON, one after the other in a group of processes that is there
EACH = """
import json, sys
import restore.fit
for options in json.loads(sys.argv[1]):
    sys.argv = ["fit", *options]
    restore.fit.main()
"""


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of every method, all by the same two processes: they are started once.

    And of one as usual, in 32 bits.
    """
    folder, two = tmp_path_factory.mktemp("two"), ("trainer=ddp_cpu", "trainer.log_every_n_steps=1")
    for k in range(3):
        photo(folder / "photos" / f"{k}.png", seed=k)
    (folder / "each.py").write_text(EACH)
    trainings = [[*each, *EXACT, *two, "run_id=two"] for each in METHODS.values()]
    trainings.append([*METHODS["super_resolution"], *TWENTY, *two, "run_id=whole"])
    options = json.dumps(trainings)
    group = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    both = [
        fork_server.start(
            "each.py", options, cwd=folder, env=os.environ | group | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=280)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_train_as_one_does(cli: Cli, tmp_path: Path, trained_by_two: Path, method: str) -> None:
    alone = cli("fit", *METHODS[method], *EXACT, "run_id=one")
    assert alone.status == 0, alone.err
    folders = [run_folder(root, run_id, method) for root, run_id in ((tmp_path, "one"), (trained_by_two, "two"))]
    one, two = (numbers(folder) for folder in folders)
    assert [row["step"] for row in one] == list(range(1, 21))
    assert len({round(row["train/loss"], 6) for row in one}) > 15  # they say something
    for a, b in zip(one, two, strict=True):  # losses, their terms and the scores, in which each image counts once
        assert a == pytest.approx(b, rel=1e-9)
    results = [json.loads((folder / "result.json").read_text()) for folder in folders]
    assert [result["processes"] for result in results] == [1, 2]
    assert results[0]["value"] == pytest.approx(results[1]["value"], rel=1e-9)
    if method == "translation":
        trained = [{key for key in row if key.startswith("train/l1_level") and key[-1].isdigit()} for row in two]
        assert [len(set(trained[k])) for k in (0, 10, 19)] == [1, 1, 2]  # it went through all stages
        weights = [result["training"]["style_weights"] for result in results]
        assert weights[0] == pytest.approx(weights[1], rel=1e-6)


@pytest.mark.slow
def test_however_it_ends_a_run_on_two_processes_goes_on_to_the_same_weights(
    tmp_path: Path, trained_by_two: Path
) -> None:
    """The launcher's two processes, against the two of a run that nothing has disturbed."""
    options = (*METHODS["super_resolution"], *TWENTY, "trainer=ddp_cpu", "trainer.log_every_n_steps=1", "run_id=x")
    folder = run_folder(tmp_path, "x")
    ends = ((7, signal.SIGKILL, -9, ""), (12, signal.SIGTERM, 143, "ended by SIGTERM. Start the same"))
    for batch, number, status, words in ends:
        running = start(tmp_path, *options, before=HoldAt((batch,)))
        ranks = [ProcessIdentity.of(pid) for pid in wait_until_held(running, folder, processes=2)]
        release(folder, batch)
        running.send_signal(number)
        out = running.communicate(timeout=280)[0]
        assert running.returncode == status, out
        assert words in " ".join(out.split())
        assert "Traceback" not in out
        wait_until_ended(ranks)
        assert not (folder / "result.json").exists()
    assert "resumed at step 13" in run(tmp_path, *options)
    assert not (folder / "ranks").exists()
    assert same_weights(last(trained_by_two, "whole"), last(tmp_path, "x"))
    folders = (run_folder(trained_by_two, "whole"), folder)
    results = [json.loads((each / "result.json").read_text()) for each in folders]
    assert results[0]["metrics"] == results[1]["metrics"]


@pytest.mark.slow
def test_processes_that_see_different_folders_do_not_train(cli: Cli, tmp_path: Path) -> None:
    """As on a network's file system that shows one of them the folder as it was a minute ago."""
    (tmp_path / "late").mkdir()
    options = (*TINY, *PLAIN, "run_id=x", "trainer=ddp_cpu", "checkpoint.every_steps=5")
    interrupted = cli("fit", *options, "trainer.devices=1", "trainer.max_steps=5")
    assert interrupted.status == 0, interrupted.err
    (run_folder(tmp_path, "x") / "result.json").unlink()
    group = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    both = [
        start(place, *options, "trainer.max_steps=5", environment=group | {"RANK": str(k), "LOCAL_RANK": str(k)})
        for k, place in enumerate((tmp_path, tmp_path / "late"))
    ]
    said = [process.communicate(timeout=280)[0] for process in both]
    assert [process.returncode for process in both] == [1, 1], said
    for words in said:
        assert "process 0 resumes from" in " ".join(words.split())
        assert "Traceback" not in words


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_all_processes_learn_that_the_loss_of_one_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Strategy:
        world_size, global_rank, global_step, accumulate_grad_batches = 2, 0, 1, 1
        default_root_dir = str(tmp_path)

    own = {"loss": torch.tensor(1.0)}
    monkeypatch.setattr(collectives, "all_reduce_min", lambda values: torch.ones_like(values))  # process 1's is
    monkeypatch.setattr(collectives, "broadcast", lambda value, source: [f"picture of {source}"])
    stop: Any = StopOnNonFinite(every_steps=1)
    with pytest.raises(NonFiniteLoss, match="picture of 1"):
        stop.on_train_batch_end(Strategy(), None, own, {"name": ["mine"]}, 0)
    assert not (tmp_path / "non_finite.pt").exists()  # process 1 keeps its own


# --- sweeps ---


@pytest.mark.slow
def test_a_sweep_of_trainings_on_two_processes(tmp_path: Path) -> None:
    (line,) = lines_for("tests/training/test_launcher.py::test_a_sweep_of_trainings_on_two_processes")
    small = [word for word in smaller(line.restore or [])[2:] if not word.startswith(("seed=", "name="))]
    options = [*small, "name=s"]
    counted = CountStarts(tmp_path / "counted")
    sweep = start(tmp_path, "-m", *options, "seed=1,-1", before=counted)
    out = sweep.communicate(timeout=280)[0]
    assert sweep.returncode == 1, out
    assert "of 2 points: 1 failed; see" in out
    # two processes for the point that trains, and none for the one that is refused before
    assert counted.found() == {"restore.fit alone": 1, "restore.training.worker 0": 1, "restore.training.worker 1": 1}
    results = [json.loads(path.read_text()) for path in (tmp_path / "multirun" / "s").rglob("result.json")]
    assert [result["processes"] for result in results] == [2]
    with (tmp_path / "multirun" / "s" / "summary.csv").open() as file:
        summary = {row["point"]: row for row in csv.DictReader(file)}
    assert {point: row["status"] for point, row in summary.items()} == {
        "seed=1": "finished",
        "seed=-1": "failed",
    }
    assert summary["seed=-1"]["message"] == "seed is -1, expected a whole number, at least 0"
    values = sorted(float(row["value"]) for row in summary.values() if row["value"])
    assert values == pytest.approx(sorted(result["value"] for result in results), rel=1e-5)


@pytest.mark.usefixtures("points_here")
def test_a_sweep_goes_on_behind_a_failed_point_and_resumes_the_broken_one(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*TINY, *PLAIN, "trainer.max_steps=2", "name=s", "model.lr=-1,0.001"]
    outcome = cli("fit", "-m", *options)
    assert outcome.status == 1
    assert "of 2 points: 1 failed; see" in outcome.err
    assert "Traceback" not in outcome.err
    text = (tmp_path / "multirun" / "s" / "summary.md").read_text()
    assert "| model.lr=-1 | failed |  | model.lr is -1, expected a number above 0 |" in text
    assert "| model.lr=0.001 | finished |" in text
    good = cli("fit", "-m", *options[:-1], "model.lr=0.001")
    assert good.status == 0, good.err  # of this start, none has failed
    assert "already finished" in good.out


@pytest.mark.usefixtures("points_here")
def test_a_search_takes_a_failed_point_for_a_failed_trial(cli: Cli, tmp_path: Path) -> None:
    search = ["experiment=search_lr_width", *TINY, *PLAIN, "trainer.max_steps=1", "name=s"]
    points = ["hydra.sweeper.n_trials=3", "model.channels=16", "model.lr=choice(0.001,-1)"]  # its seed draws both
    outcome = cli("fit", "-m", *search, *points)
    assert outcome.status == 1
    assert "of 2 points: 1 failed; see" in outcome.err
    folder = tmp_path / "multirun" / "s"
    with (folder / "summary.csv").open() as file:
        found = {row["point"]: row["status"] for row in csv.DictReader(file)}
    assert found == {"model.lr=0.001": "finished", "model.lr=-1": "failed"}
    best = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert best["best_params"] == {"model.lr": 0.001}
    result = json.loads(next(folder.rglob("result.json")).read_text())
    assert best["best_value"] == result["value"]


# --- where a process stands ---


TASK = {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_STEP_NUM_NODES": "2"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1, 1, "none")),
        ({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, (3, 4, 2, "torchrun")),
        (TASK | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS_PER_NODE": "2"}, (3, 4, 2, "srun")),
        (TASK | {"SLURM_STEP_NUM_TASKS": "1"}, (0, 1, 1, "none")),  # a shell inside a job of several tasks
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, (0, 1, 1, "none")),  # a batch script before srun
    ],
)
def test_a_process_finds_its_rank(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: tuple[Any, ...]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert process_info() == expected


def test_tasks_of_submitits_local_executor_are_processes_of_one_job(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"NTASKS": "2", "GLOBALID": "1", "LOCALID": "1", "JOB_ID": "77"}
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", {f"SUBMITIT_LOCAL_{name}": value for name, value in own.items()})
        assert process_info() == (1, 2, 2, "torchrun")
        assert os.environ["MASTER_ADDR"] == "127.0.0.1"


def test_a_failing_process_ends_the_others_and_is_the_one_that_speaks(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A job without settings for the first one's log: the second is ended while it imports torch."""
    with pytest.raises(launcher.Failed, match=r"process 0: KeyError: 'logging'|process 1: KeyError: 'resume'"):
        launcher.run({}, tmp_path, 2)
    assert "Traceback" in capfd.readouterr().err  # a defect of ours, once
    assert not (tmp_path / "ranks").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["trainer.devices=0"], "trainer.devices is 0"),
        (["trainer.devices=two"], "trainer.devices is two"),
        (["trainer=cpu", "trainer.devices=3"], "data.batch_size is 2"),
        (["trainer=cpu", "trainer.devices=2", "trainer.num_nodes=2"], "trainer.num_nodes is 2"),
        (["trainer.strategy=dp"], "trainer.strategy is dp"),
        (["trainer.accelerator=cuda"], "trainer.accelerator is cuda"),
        (["trainer.strategy=fsdp"], "trainer.strategy is fsdp"),
    ],
)
def test_what_does_not_fit_several_processes_ends_in_a_sentence(cli: Cli, options: list[str], words: str) -> None:
    outcome = cli("fit", *TINY, *options)
    assert outcome.status == 1
    assert words in " ".join(outcome.err.split())
    assert "Traceback" not in outcome.err


OF_TWO = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.slow
def test_one_image_is_not_for_several_processes(tmp_path: Path) -> None:
    """Each of them refuses it, and the launcher passes on the sentence of the first."""
    photo(tmp_path / "a.png")
    options = (*TINY_ZERO_SHOT, "trainer=ddp_cpu", "data.image=a.png", "data.batch_size=2", "run_id=a")
    refused = start(tmp_path, *options)
    out = " ".join(refused.communicate(timeout=280)[0].split())
    assert refused.returncode == 1, out
    assert "fit: trainer.devices is 2" in out
    assert "Traceback" not in out


def test_a_failure_of_new_processes_is_a_sentence(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(job: Mapping[str, Any], folder: Path, count: int, *told_to_end: object) -> None:
        raise launcher.Failed(f"one of {count} failed")

    monkeypatch.setattr(launcher, "run", fail)
    outcome = cli("fit", *TINY, "trainer=ddp_cpu")
    assert outcome.status == 1
    assert outcome.err.startswith("fit: one of 2 failed\n")
    assert "training on 2 processes" in outcome.out


def test_several_processes_without_a_common_name_are_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OF_TWO.items():
        monkeypatch.setenv(name, value)
    outcome = cli("fit", *TINY, "trainer=ddp_cpu")
    assert outcome.status == 1
    assert "run_id is not set" in outcome.err
    outcome = cli("fit", *TINY, "trainer=cpu", "run_id=a")
    assert "trainer.devices is 1" in outcome.err


def test_the_share_of_a_batch_is_what_the_sampler_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = torch.arange(6)
    for rank in range(3):
        monkeypatch.setattr(collectives, "world_size", lambda: 3)
        monkeypatch.setattr(collectives, "rank", lambda rank=rank: rank)
        assert collectives.share_of_batch(drawn).tolist() == next(iter(RunSampler(1, 6, rank=rank, world=3)))


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({"SLURM_JOB_ID": "7"}, "requeue 7"),
        # this task's own number is that of the whole array
        ({"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}, "requeue 7_2"),
    ],
)
def test_slurm_is_asked_for_this_job_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], asked: str
) -> None:
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    signals.requeue(signal.SIGTERM)  # somebody wants the job to end
    assert not (tmp_path / "asked").exists()
    signals.requeue(signal.SIGUSR1)
    assert (tmp_path / "asked").read_text().strip() == asked
