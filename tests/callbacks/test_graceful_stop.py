import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from restore.callbacks.seed_steps import SeedSteps
from restore.checkpoints import reader
from restore.distributed.signals import ASKING
from restore.models.base import RestorationModel
from restore.training import parts, train
from tests import fork_server
from tests.conftest import TINY, Cli, photo
from tests.held_training import HoldAt, wait_until_held
from tests.test_fit import METHODS, run_folder, same_weights

SMALL = (
    *TINY,
    "callbacks.panels=null",
    "data=sr_folder",
    "data.root=photos",
    "data.validation=1",
    "data.num_workers=0",
    "val_every_steps=5",
    "checkpoint.every_steps=100",
    "trainer.max_steps=9",
)


@pytest.fixture(autouse=True)
def photos(tmp_path: Path) -> None:
    for k in range(3):
        photo(tmp_path / "photos" / f"{k}.png", seed=k)


def signal_in_batch(monkeypatch: pytest.MonkeyPatch, number: int, batch: int) -> None:
    """The process gets the signal while it computes the ``batch``-th batch, counted from 0 over all lives."""
    original = SeedSteps.on_train_batch_start

    def hit(self: SeedSteps, trainer: Any, pl_module: Any, data: Any, batch_idx: int) -> None:
        if batch_idx == batch:
            os.kill(os.getpid(), number)
        original(self, trainer, pl_module, data, batch_idx)

    monkeypatch.setattr(SeedSteps, "on_train_batch_start", hit)


def signal_in_evaluation(monkeypatch: pytest.MonkeyPatch, step: str, number: int) -> None:
    """The process gets the signal while it restores an image."""
    original = getattr(RestorationModel, step)

    def hit(self: RestorationModel, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        os.kill(os.getpid(), number)
        return original(self, batch, batch_idx, dataloader_idx)

    monkeypatch.setattr(RestorationModel, step, hit)


def last(folder: Path) -> dict[str, Any]:
    return reader.read(folder / "checkpoints" / "last.ckpt")


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key not in ("samples_per_s", "data_share")} for row in rows]


def assert_same_end(one: Path, other: Path) -> None:
    assert same_weights(last(one), last(other))
    results = [json.loads((folder / "result.json").read_text()) for folder in (one, other)]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert results[0]["value"] == results[1]["value"]
    assert table(one) == table(other)


def test_every_signal_saves_at_the_end_of_its_step_and_the_run_goes_on(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("fit", *SMALL, "run_id=whole").status == 0
    folder = run_folder(tmp_path, "x")
    before = [signal.getsignal(number) for number in ASKING]
    for step, number in enumerate(ASKING, 2):
        with monkeypatch.context() as patch:
            signal_in_batch(patch, number, step - 1)
            outcome = cli("fit", *SMALL, "run_id=x")
        assert outcome.status == 128 + number
        remedy = "Start the same command with run_id=x again to continue from the last checkpoint"
        assert remedy in " ".join((outcome.out + outcome.err).split())
        # the fifth step has a validation, which an interrupted run does not wait for
        state = last(folder)
        assert (state["global_step"], state.get("validation_pending", False)) == (step, step == 5)
        assert [signal.getsignal(number) for number in ASKING] == before
    assert cli("fit", *SMALL, "run_id=x").status == 0
    result = json.loads((folder / "result.json").read_text())
    assert result["steps_run"] == 4
    assert_same_end(run_folder(tmp_path, "whole"), folder)


@pytest.mark.parametrize("method", METHODS)
def test_a_validation_that_was_abandoned_is_done_by_the_run_that_goes_on(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    settings = ["val_every_steps=3", "trainer.max_steps=5", "trainer.accumulate_grad_batches=2"]
    options = (*METHODS[method], *settings, "checkpoint.every_steps=4")
    assert cli("fit", *options, "run_id=whole").status == 0
    for _ in range(2):
        with monkeypatch.context() as patch:
            signal_in_evaluation(patch, "validation_step", signal.SIGUSR1)
            assert cli("fit", *options, "run_id=x").status == 128 + signal.SIGUSR1
        folder = run_folder(tmp_path, "x", name=method)
        assert (last(folder)["global_step"], last(folder)["validation_pending"]) == (3, True)
    # the validation after the last step: the run that goes on has nothing else to do
    with monkeypatch.context() as patch:
        original = RestorationModel.validation_step

        def hit(self: RestorationModel, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            if self.trainer.should_stop:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(self, batch, batch_idx, dataloader_idx)

        patch.setattr(RestorationModel, "validation_step", hit)
        assert cli("fit", *options, "run_id=x").status == 143
    # zero-shot is over after 4 steps, two for each scale step
    assert (last(folder)["global_step"], last(folder)["validation_pending"]) == ({"zero_shot": 4}.get(method, 5), True)
    assert cli("fit", *options, "run_id=x").status == 0
    assert json.loads((folder / "result.json").read_text())["steps_run"] == 0
    assert "validation_pending" not in last(folder)
    assert_same_end(run_folder(tmp_path, "whole", name=method), folder)


def test_a_test_that_was_interrupted_is_done_anew(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_folder(tmp_path, "x")
    with monkeypatch.context() as patch:
        signal_in_evaluation(patch, "test_step", signal.SIGTERM)
        assert cli("fit", *SMALL, "run_id=x").status == 143
    assert not (folder / "result.json").exists()
    assert last(folder)["global_step"] == 9
    assert cli("fit", *SMALL, "run_id=x").status == 0
    assert json.loads((folder / "result.json").read_text())["steps_run"] == 0


def test_between_accumulated_batches_the_step_is_finished_first(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_in_batch(monkeypatch, signal.SIGUSR2, 2)  # the first half of the second step
    outcome = cli("fit", *SMALL, "trainer.accumulate_grad_batches=2", "run_id=x")
    assert outcome.status == 128 + signal.SIGUSR2
    assert last(run_folder(tmp_path, "x"))["global_step"] == 2


@pytest.mark.slow
def test_a_signal_to_the_whole_group_leaves_the_loaders_workers_alone(tmp_path: Path) -> None:
    options = ("-m", "restore.fit", *SMALL, "data.num_workers=1", "run_id=x")
    running = fork_server.start(*options, cwd=tmp_path, start_new_session=True, before=HoldAt((3,)))
    folder = run_folder(tmp_path, "x")
    assert wait_until_held(running, folder) == [running.pid]
    workers = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    assert len(workers) >= 2  # the loader's, and what launches trainings
    os.killpg(running.pid, signal.SIGTERM)
    out = running.communicate(timeout=300)[0]
    assert running.returncode == 143, out
    assert "ended by SIGTERM" in out
    assert "Traceback" not in out
    assert last(folder)["global_step"] == 4


def test_a_job_that_is_warned_before_its_first_step_is_queued_again(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    build = parts.model_and_data

    def warned(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR1)
        return build(*arguments, **options)

    monkeypatch.setattr(train, "model_and_data", warned)
    outcome = cli("fit", *SMALL)
    assert outcome.status == 138, outcome.err
    assert "Traceback" not in outcome.err
    assert "Nothing was trained yet" in " ".join((outcome.out + outcome.err).split())
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    assert not run_folder(tmp_path, "7").exists()  # nothing was described yet


TWO_PROCESSES = """
import os, signal
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.fabric.plugins.environments import LightningEnvironment
from restore.callbacks.graceful_stop import GracefulStop
from restore.distributed.signals import StopRequested

class Model(LightningModule):
    def __init__(self, hit):
        super().__init__()
        self.hit, self.seen = hit, None
        self.layer = torch.nn.Linear(1, 1)
    def training_step(self, batch, batch_idx):
        if self.global_rank == 1 and self.global_step == self.hit:
            os.kill(os.getpid(), signal.SIGUSR1)
        return self.layer(batch).mean()
    def validation_step(self, batch, batch_idx):
        if self.global_rank == 0 and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        self.seen = batch_idx
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

class Share(torch.utils.data.Sampler):
    def __init__(self, rank): self.own = range(rank, 7, 2)
    def __len__(self): return len(self.own)
    def __iter__(self): return iter(self.own)

rank = int(os.environ["LOCAL_RANK"])
data = torch.ones(7, 1)
def run(hit):
    trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_steps=8, logger=False, max_epochs=-1,
        callbacks=[GracefulStop()], enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        use_distributed_sampler=False, check_val_every_n_epoch=None, val_check_interval=4,
        plugins=[LightningEnvironment()])
    train = torch.utils.data.DataLoader(torch.ones(20, 1))
    validate = torch.utils.data.DataLoader(data, sampler=Share(rank))
    model = Model(hit)
    try:
        trainer.fit(model, train, validate)
    except StopRequested as end:
        print(rank, end.number, trainer.global_step, model.seen, flush=True)

run(2)
run(100)
os._exit(0)
"""


@pytest.mark.slow
def test_processes_agree_on_a_signal_that_one_of_them_got(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO_PROCESSES)
    port = str(20000 + os.getpid() % 10000)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "NODE_RANK": "0"}
    ranks = [
        fork_server.start("two.py", cwd=tmp_path, env=os.environ | shared | {"LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    told = [rank.communicate(timeout=300)[0] for rank in ranks]
    # SIGUSR1 to one in the third step; SIGTERM to the other in the second image of a validation
    said = [[line for line in out.splitlines() if line.startswith(("0 ", "1 "))] for out in told]
    assert said == [[f"{rank} 10 3 None", f"{rank} 15 4 1"] for rank in range(2)], told
