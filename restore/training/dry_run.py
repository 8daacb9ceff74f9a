"""A short training, run as ``fit`` would run it, to measure how long a whole one takes."""

import math
import timeit
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.profilers import SimpleProfiler
from numpy.typing import NDArray

from restore.callbacks.contract import Staged
from restore.callbacks.dashboards import Dashboard
from restore.callbacks.graceful_stop import GracefulStop
from restore.callbacks.metrics_csv import MetricsCSV
from restore.callbacks.run_checkpoint import RunCheckpoint
from restore.callbacks.run_report import RunReport
from restore.callbacks.run_timer import RunTimer
from restore.data.base import PairedData
from restore.data.loader_workers import loader_workers
from restore.models import loading
from restore.models.base import RestorationModel
from restore.training.parts import Data
from restore.training.progress_line import Status
from restore.training.trainer import make_trainer, run_callbacks

if TYPE_CHECKING:
    from restore.config.schemas import FitConfig

WARM_UP = 2  # steps at the start of each stage that take longer, because caches fill and memory is allocated
IMAGES = 3  # kept in each set that is validated or tested
SAMPLES = 8  # of the training data, timed in one process
LEFT_OUT = (RunCheckpoint, RunReport, Dashboard, GracefulStop)  # they need a described run folder, or save and resume
WAIT = (".train_dataloader_next",)  # names of Lightning's profiled actions
STEP = (*WAIT, ".on_train_batch_", "run_training_batch")

Seconds = NDArray[np.float64]


class Measured(NamedTuple):
    """Times that a dry run measured, in seconds; ``device`` is the type of device it ran on.

    Attributes:
        start: one-off work in the trainer. save: writing one checkpoint.
        step, wait: per stage, the usual time of a step, and the part of it spent waiting for data. validation: (stages,
            2), the time spent on images, and the rest, such as drawing curves. test: (2,), the same for the test; its
            rest includes loading the weights.
        sample: making one training sample in a single process.
    """

    start: float
    step: Seconds
    wait: Seconds
    validation: Seconds
    test: Seconds
    save: float
    sample: float
    device: str


class Profiler(SimpleProfiler):
    """Lightning's profiler, which waits for the GPU."""

    def stop(self, action_name: str) -> None:
        """Record the end of an action, once the GPU has finished the work that the action started."""
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        super().stop(action_name)

    def seconds(self, count: int, *actions: str) -> Seconds:
        """Total time of actions whose names contain one of ``actions``, in each of ``count`` equal parts of a run."""
        found = (each for name, each in self.recorded_durations.items() if any(action in name for action in actions))
        equal = (np.reshape(each[: len(each) // count * count], (count, -1)) for each in found)
        return sum((parts.sum(1) for parts in equal), np.zeros(count))

    def usual(self, stages: int, steps: int, period: int, *actions: str) -> Seconds:
        """Usual time of a step in each stage: median over blocks of ``period`` steps, without first and last."""
        blocks = (steps - WARM_UP - 1) // period
        usual = self.seconds(stages * steps, *actions).reshape(stages, steps)[:, WARM_UP : WARM_UP + blocks * period]
        return np.asarray(np.median(usual.reshape(stages, blocks, period).mean(2), axis=1))

    def evaluations(self, count: int, loop: str, prefix: str) -> Seconds:
        """Times of validations (``validation``, ``val``) or tests, (count, 2), columns as in :class:`Measured`."""
        images = self.seconds(count, f".{prefix}_next", f".{loop}_step")
        return np.stack([images, self.seconds(count, f".on_{loop}_")], 1)


def keep_largest(data: PairedData) -> dict[str, tuple[int, int]]:
    """Keep the ``IMAGES`` largest images of each validation and test set; return the pixels of all, and of those kept.

    Args:
        data: its files have been checked; it is changed.
    """
    pixels = {}
    for name, pairs in data.test_sets.items():
        sizes = [*map(math.prod, data.checked[name].sizes)]
        largest = sorted(zip(sizes, pairs, strict=True), key=itemgetter(0), reverse=True)[:IMAGES]
        data.test_sets[name] = [pair for _, pair in largest]
        pixels[name] = sum(sizes), sum(each for each, _ in largest)
    data.validation_sets = {name: data.test_sets[name] for name in data.validation_sets}
    return pixels


def dry_run(
    cfg: "FitConfig",
    least_steps: int,
    best: Path,
    model: RestorationModel,
    data: Data,
    stages: int,
    saying: Callable[[str, Callable[[], str]], AbstractContextManager[None]],
    callbacks: Sequence[Callback] = (),
    left_out: tuple[type[Callback], ...] = LEFT_OUT,
    **changes: Any,
) -> Measured:
    """Train for a few steps in each of the ``stages`` of ``model``, then validate, save and test as ``fit`` does.

    Args:
        cfg: configuration of the run. least_steps: the minimum in each stage.
        best: path of the checkpoint to write, in ``checkpoints/`` of a temporary run folder.
        data: prepared, and reduced to the few images to validate on.
        saying: context manager that shows a description of its block, and a progress line from a function.
        callbacks: added to those of every run, which are used except for the types in ``left_out``.
        changes: arguments of the Trainer to replace.

    Raises:
        ValueError: the run does not fit the accelerator's memory, or the training itself raised it.
    """
    period = 1  # steps within which every periodic action of the model happens once
    if isinstance(model, Staged):
        period = model.period
        model.shorten_stages()
    # an even number, for two validations, and at least two periods
    steps = 2 * math.ceil(max(least_steps, WARM_UP + 2 * period + 2) / 2)
    profiler, accumulate = Profiler(), cfg.trainer.accumulate_grad_batches
    usual = run_callbacks(cfg, RunTimer(is_new_run=True), is_new_run=True)
    callbacks, folder = [*(each for each in usual if not isinstance(each, left_out)), *callbacks], best.parent.parent
    changes |= {"max_steps": stages * steps, "val_check_interval": steps // 2 * accumulate, "profiler": profiler}
    trainer = make_trainer(cfg, folder, model, callbacks, [MetricsCSV(folder=str(folder))], **changes)
    what = f"training {trainer.max_steps} steps with validations, then testing what was saved"
    with saying(what, Status(trainer, model, 0).line), loader_workers(data.num_workers):
        in_trainer, scoring = _timed(trainer, model, data, best)
    samples: Any = data.train_dataloader().dataset
    sample = timeit.timeit(lambda: [samples[k] for k in range(SAMPLES)], number=1) / SAMPLES
    step, wait = (profiler.usual(stages, steps, period, *each) for each in (STEP, WAIT))
    validations = profiler.evaluations(2 * stages, "validation", "val")
    test = profiler.evaluations(1, "test", "test")[0]
    # loader workers prefetch at first, which hides part of the time that data take later
    share = data.batch_size / trainer.world_size
    later = accumulate * share * sample / data.num_workers - step if data.num_workers else 0 * step
    return Measured(
        start=max(0.0, float(in_trainer - steps * step.sum() - validations.sum())),
        step=step + later.clip(min=0),
        wait=wait + later.clip(min=0),
        validation=validations[1::2],
        test=np.array([test[0], scoring - test[0]]),
        save=profiler.recorded_durations["save_checkpoint"][-1],
        sample=sample,
        device=trainer.strategy.root_device.type,
    )


def _timed(trainer: Trainer, model: RestorationModel, data: Data, best: Path) -> tuple[float, float]:
    """Seconds that the training took, and that testing the saved weights took."""
    try:
        in_trainer = timeit.timeit(lambda: trainer.fit(model, datamodule=data), number=1)
        trainer.save_checkpoint(best)
        return in_trainer, timeit.timeit(lambda: _score(trainer, best, model, data), number=1)
    except torch.OutOfMemoryError as error:
        said, remedy = str(error).splitlines()[0], "lower data.batch_size or data.patch_size"
        raise ValueError(f"this run does not fit the accelerator's memory ({said}); {remedy}") from error


def _score(trainer: Trainer, best: Path, model: RestorationModel, data: Data) -> None:
    trainer.test(loading.load_model(best, trained_by=type(model)), datamodule=data, verbose=False)
