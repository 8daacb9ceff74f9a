"""A short training, validation, save and test, timed: what ``restore check`` forecasts a whole run from."""

import contextlib
import copy
import io
import logging
import math
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from restore.callbacks.contract import Staged
from restore.callbacks.dashboards import Dashboard
from restore.callbacks.graceful_stop import GracefulStop
from restore.callbacks.run_checkpoint import RunCheckpoint
from restore.callbacks.run_report import RunReport
from restore.callbacks.run_timer import RunTimer
from restore.data.loader_workers import loader_workers
from restore.io.progress import LINE_EVERY
from restore.models import loading
from restore.models.base import RestorationModel
from restore.preflight import memory
from restore.preflight.profiler import WARM_UP, Evaluation, Profiler, StageTimes, measured_stages
from restore.training.train import Data
from restore.training.trainer import make_trainer, run_callbacks

SAMPLES = 8  # of the training data, timed one by one
IMAGES = 3  # of each set that is validated on
LEFT_OUT = (RunCheckpoint, RunReport, Dashboard, GracefulStop)  # they need a described run folder, or save and resume


class Measured(NamedTuple):
    """What a dry run measured, in seconds and bytes.

    Attributes:
        start: in the trainer, before the first batch. stages: by name. test: of the chosen images.
        save, checkpoint_bytes: of a checkpoint. sample: one training sample, made in one process.
        device: its type. peak_bytes: of memory so far, on an accelerator or of this process.
        loss: of the last step.
    """

    start: float
    stages: dict[str, StageTimes]
    test: Evaluation
    save: float
    checkpoint_bytes: int
    sample: float
    device: str
    peak_bytes: int
    loss: float


class _Phases(Callback):
    """Says what the dry run does, and now and then at which step it is."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self._last = say, 0.0

    def _tell(self, what: str) -> None:
        self._last = time.monotonic()
        self.say(what)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the plan of a training in stages is made."""
        self._tell(f"training {trainer.max_steps} steps, with validations")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A line where the last one is old."""
        if time.monotonic() > self._last + LINE_EVERY:
            self._tell(f"step {trainer.global_step} of {trainer.max_steps}")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After the checkpoint was saved and read."""
        self._tell("testing what was saved")


def dry_run(
    cfg: Any, folder: Path, model: RestorationModel, data: Data, say: Callable[[str], None] = lambda _: None
) -> Measured:
    """Train for a few steps in each stage of ``model``, and validate, save and test as ``fit`` does.

    Args:
        cfg: the root of ``restore check``.
        folder: for what a run leaves; afterwards its ``checkpoints/best.ckpt`` holds the model.
        data: prepared, with the few images that are to be validated on.
        say: is told what is done.

    Raises:
        ValueError: the accelerator's memory does not suffice; what a training raises.
    """
    names, period = list(stage_lengths(model, cfg.trainer.max_steps)), 1
    if isinstance(model, Staged):
        period = model.period
        model.shorten_stages()
    # even, so that two validations fit, and at least two of the model's periods
    steps = 2 * math.ceil(max(cfg.check.steps, WARM_UP + 2 * period + 2) / 2)
    short = _shortened(cfg, folder, steps, len(names))
    callbacks = run_callbacks(short, RunTimer(is_new_run=True), is_new_run=True)
    kept, profiler = [each for each in callbacks if not isinstance(each, LEFT_OUT)], Profiler()
    trainer = make_trainer(short, folder, model, [*kept, _Phases(say)], profiler)
    best = folder / "checkpoints" / "best.ckpt"
    with quiet(), _explained(), loader_workers(data.num_workers):
        in_trainer = timeit.timeit(lambda: trainer.fit(model, datamodule=data), number=1)
        trainer.save_checkpoint(best)
        trainer.test(loading.load_model(best), datamodule=data, verbose=False)
    samples: Any = data.train_dataloader().dataset
    sample = timeit.timeit(lambda: [samples[k] for k in range(SAMPLES)], number=1) / SAMPLES
    size, workers = short.trainer.accumulate_grad_batches * data.batch_size, data.num_workers
    return Measured(
        start=in_trainer - sum(profiler.recorded_durations["run_training_epoch"]),
        stages=measured_stages(profiler, names, steps, period=period, least=size * sample / workers if workers else 0),
        test=profiler.evaluations(1, "test", "test")[0],
        save=profiler.recorded_durations["save_checkpoint"][-1],
        checkpoint_bytes=best.stat().st_size,
        sample=sample,
        device=trainer.strategy.root_device.type,
        peak_bytes=memory.peak_bytes(trainer.strategy.root_device.type),
        loss=float(model.train_values["train/loss"]),
    )


def _shortened(cfg: Any, folder: Path, steps: int, stages: int) -> Any:
    """The configuration of a short run of one process that writes to ``folder`` and to no dashboard."""
    cfg = copy.deepcopy(cfg)
    cfg.trainer.max_steps, cfg.val_every_steps = steps * stages, steps // 2
    # not the strategy: it is looked at as fit does, and one process has none
    cfg.trainer.devices = cfg.trainer.num_nodes = 1
    cfg.checkpoint.artifacts = False
    cfg.logger = {key: node for key, node in (cfg.logger or {}).items() if key == "csv"}
    if cfg.logger.get("csv") is not None:
        cfg.logger.csv.folder = str(folder)
    if cfg.callbacks is not None and "progress" in cfg.callbacks:
        cfg.callbacks.progress = None
    return cfg


def stage_lengths(model: RestorationModel, max_steps: int) -> dict[str, int]:
    """Steps of each stage of a training, by the stage's name; a model that is not staged has one stage."""
    return model.stage_lengths(max_steps) if isinstance(model, Staged) else {"training": max_steps}


@contextmanager
def _explained() -> Iterator[None]:
    """What Lightning and PyTorch raise, as errors of a user."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"this run does not fit the accelerator's memory ({str(error).splitlines()[0]}); lower data.batch_size or "
            "data.patch_size"
        ) from error
    except SystemExit as end:
        if end.code == 1:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt("a dry run keeps nothing") from None
        raise


@contextmanager
def quiet() -> Iterator[None]:
    """Without output: a dry run's scores and warnings say nothing about the run."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
