"""A short training, validation, save and test, timed: what ``restore check`` forecasts a whole run from."""

import io
import math
import timeit
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch.profilers import SimpleProfiler
from numpy.typing import NDArray

from restore.callbacks.contract import Staged
from restore.callbacks.dashboards import Dashboard
from restore.callbacks.graceful_stop import GracefulStop
from restore.callbacks.metrics_csv import MetricsCSV
from restore.callbacks.run_checkpoint import RunCheckpoint
from restore.callbacks.run_report import RunReport
from restore.callbacks.run_timer import RunTimer
from restore.data.loader_workers import loader_workers
from restore.models import loading
from restore.models.base import RestorationModel
from restore.preflight.findings import Findings
from restore.training.progress_line import Status
from restore.training.train import Data
from restore.training.trainer import make_trainer, run_callbacks

if TYPE_CHECKING:
    from restore.config.schemas import FitConfig

WARM_UP = 2  # steps of a stage that take longer, because caches are filled and memory is allocated
SAMPLES = 8  # of the training data, timed one by one
LEFT_OUT = (RunCheckpoint, RunReport, Dashboard, GracefulStop)  # they need a described run folder, or save and resume
WAIT = (".train_dataloader_next",)  # Lightning's names of what it does
STEP = (*WAIT, ".on_train_batch_", "run_training_batch")

Seconds = NDArray[np.float64]


class Measured(NamedTuple):
    """What a dry run measured, in seconds; ``device`` is the type of what it ran on.

    Attributes:
        start: in the trainer, of what is done once. save: of a checkpoint.
        step, wait: of each stage: a usual step, and its wait for data.
        validation: (stages, 2), of the images, and of the rest, like drawing curves. test: (2,), as well.
    """

    start: float
    step: Seconds
    wait: Seconds
    validation: Seconds
    test: Seconds
    save: float
    device: str


class Profiler(SimpleProfiler):
    """Lightning's own times of its actions."""

    def stop(self, action_name: str) -> None:
        """As Lightning's, after a GPU has finished what the action has started."""
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        super().stop(action_name)

    def seconds(self, count: int, *actions: str) -> Seconds:
        """Of actions in whose names one of these stands, all together, in each of ``count`` equal parts of the run."""
        found = (each for name, each in self.recorded_durations.items() if any(action in name for action in actions))
        equal = (np.reshape(each[: len(each) // count * count], (count, -1)) for each in found)
        return sum((parts.sum(1) for parts in equal), np.zeros(count))

    def usual(self, stages: int, steps: int, period: int, *actions: str) -> Seconds:
        """Of a step of each stage: the median over blocks of ``period`` steps, without the first and the last."""
        blocks = (steps - WARM_UP - 1) // period
        usual = self.seconds(stages * steps, *actions).reshape(stages, steps)[:, WARM_UP : WARM_UP + blocks * period]
        return np.asarray(np.median(usual.reshape(stages, blocks, period).mean(2), axis=1))

    def evaluations(self, count: int, loop: str, prefix: str) -> Seconds:
        """(count, 2): of validations (``validation``, ``val``) or tests, see :class:`Measured`."""
        images = self.seconds(count, f".{prefix}_next", f".{loop}_step")
        return np.stack([images, self.seconds(count, f".on_{loop}_")], 1)


def dry_run(
    cfg: "FitConfig", least_steps: int, best: Path, model: RestorationModel, data: Data, stages: int, findings: Findings
) -> Measured:
    """Train for a few steps in each of the ``stages`` of ``model``, and validate, save and test as ``fit`` does.

    Args:
        cfg: of the run. least_steps: of each stage.
        best: the checkpoint that is written, in a temporary run folder's ``checkpoints/``.
        data: prepared, with the few images that are to be validated on.

    Raises:
        ValueError: the accelerator's memory does not suffice; what a training raises.
    """
    period = 1  # steps after which the model has done once all that it does now and then
    if isinstance(model, Staged):
        period = model.period
        model.shorten_stages()
    # even, so that two validations fit, and at least two periods
    steps = 2 * math.ceil(max(least_steps, WARM_UP + 2 * period + 2) / 2)
    profiler, accumulate = Profiler(), cfg.trainer.accumulate_grad_batches
    callbacks = run_callbacks(cfg, RunTimer(is_new_run=True), is_new_run=True)
    with redirect_stdout(io.StringIO()):  # its scores say nothing about the run
        trainer = make_trainer(
            cfg,
            best.parent.parent,
            model,
            [each for each in callbacks if not isinstance(each, LEFT_OUT)],
            [MetricsCSV(folder=str(best.parent.parent))],
            profiler=profiler,
            devices=1,
            num_nodes=1,
            max_steps=stages * steps,
            val_check_interval=steps // 2 * accumulate,
        )
        what = f"training {trainer.max_steps} steps with validations, then testing what was saved"
        with findings.doing("dry run", what, Status(trainer, model, 0).line), loader_workers(data.num_workers):
            try:
                in_trainer = timeit.timeit(lambda: trainer.fit(model, datamodule=data), number=1)
                trainer.save_checkpoint(best)
                kept = loading.load_model(best, trained_by=type(model))
                trainer.test(kept, datamodule=data, verbose=False)
            except torch.OutOfMemoryError as error:
                said, remedy = str(error).splitlines()[0], "lower data.batch_size or data.patch_size"
                raise ValueError(f"this run does not fit the accelerator's memory ({said}); {remedy}") from error
    samples: Any = data.train_dataloader().dataset
    sample = timeit.timeit(lambda: [samples[k] for k in range(SAMPLES)], number=1) / SAMPLES
    findings.add("data path", f"{1e3 * sample:.1f} ms a training sample, in one process")
    step, wait = (profiler.usual(stages, steps, period, *each) for each in (STEP, WAIT))
    validations = profiler.evaluations(2 * stages, "validation", "val")
    # loader workers are ahead at first
    later = accumulate * data.batch_size * sample / data.num_workers - step if data.num_workers else 0 * step
    return Measured(
        start=max(0.0, in_trainer - steps * step.sum() - validations.sum()),
        step=step + later.clip(min=0),
        wait=wait + later.clip(min=0),
        validation=validations[1::2],
        test=profiler.evaluations(1, "test", "test")[0],
        save=profiler.recorded_durations["save_checkpoint"][-1],
        device=trainer.strategy.root_device.type,
    )
