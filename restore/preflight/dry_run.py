"""A short training, validation, save and test, timed: what ``restore check`` forecasts a whole run from."""

import contextlib
import copy
import io
import logging
import time
import timeit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.profilers import SimpleProfiler

from restore.callbacks.contract import Staged
from restore.callbacks.dashboards import Dashboard
from restore.callbacks.graceful_stop import GracefulStop
from restore.callbacks.run_checkpoint import RunCheckpoint
from restore.callbacks.run_report import RunReport
from restore.callbacks.run_timer import RunTimer
from restore.data.base import PairedData
from restore.data.loader_workers import loader_workers
from restore.models import loading
from restore.models.base import RestorationModel
from restore.preflight import memory
from restore.training.train import Data
from restore.training.trainer import check_settings, make_trainer, run_callbacks

WARM_UP = 2  # steps that take longer, because caches are filled and memory is allocated
SAMPLES = 8  # of the training data, timed one by one
IMAGES = 3  # of each set that is validated on
LEFT_OUT = (RunCheckpoint, RunReport, Dashboard, GracefulStop)  # they need a described run folder, or save and resume


class Batch(NamedTuple):
    """Seconds of a batch, and of these waiting for data."""

    seconds: float
    wait: float


class Evaluation(NamedTuple):
    """Seconds of a validation or test for its images, and for what is done once, like drawing curves."""

    images: float
    once: float


class StageTimes(NamedTuple):
    """A stage of the training: its batches, and its last validation."""

    batches: list[Batch]
    validation: Evaluation


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


class Profiler(SimpleProfiler):
    """Lightning's own times of its actions."""

    def stop(self, action_name: str) -> None:
        """As Lightning's, after a GPU has finished what the action has started."""
        if action_name.endswith(("run_training_batch", "validation_step", "test_step")) and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        super().stop(action_name)

    def summary(self) -> str:
        """Nothing to print."""
        return ""

    def parts(self, count: int, *actions: str) -> list[float]:
        """Seconds of some actions, all together, in each of ``count`` equal parts of the run.

        Args:
            actions: how their names end, for example ``.on_train_batch_end``, which each callback has.
        """
        found = [times for name, times in self.recorded_durations.items() if name.endswith(actions)]
        sizes = [len(times) // count for times in found]
        return [sum(sum(t[k * n : (k + 1) * n]) for t, n in zip(found, sizes, strict=True)) for k in range(count)]

    def batches(self, count: int) -> list[Batch]:
        """Each of ``count`` training batches, without validations."""
        fetch = ".train_dataloader_next"
        step = (fetch, ".on_train_batch_start", "run_training_batch", ".on_train_batch_end")
        return list(map(Batch, self.parts(count, *step), self.parts(count, fetch)))

    def evaluations(self, count: int, loop: str, prefix: str) -> list[Evaluation]:
        """Each of ``count`` validations or tests.

        Args:
            loop, prefix: Lightning's names: ``validation`` and ``val``, ``test`` and ``test``.
        """
        images = self.parts(count, f".{prefix}_next", f".{loop}_step")
        hooks = (f"{name}_{when}" for name in ("", "_epoch", "_batch") for when in ("start", "end"))
        return list(map(Evaluation, images, self.parts(count, *(f".on_{loop}{hook}" for hook in hooks))))


def dry_run(cfg: Any, folder: Path, model: RestorationModel, data: Data) -> Measured:
    """Train for a few steps in each stage of ``model``, and validate, save and test as ``fit`` does.

    Args:
        cfg: the root of ``restore check``, for one process.
        folder: for what a run leaves; afterwards its ``checkpoints/best.ckpt`` holds the model.
        data: prepared; its sets are those of :func:`limit_images`.

    Raises:
        ValueError: the accelerator's memory does not suffice; what a training raises.
    """
    check_settings(cfg)  # before some are replaced
    names = list(stage_lengths(model, cfg.trainer.max_steps))
    steps = steps_of_stage(model, cfg.check.steps)
    if isinstance(model, Staged):
        model.shorten_stages()
    short = copy.deepcopy(cfg)
    short.trainer.max_steps, short.val_every_steps = steps * len(names), steps // 2
    callbacks = run_callbacks(short, RunTimer(is_new_run=True), is_new_run=True)
    kept, profiler = [each for each in callbacks if not isinstance(each, LEFT_OUT)], Profiler()
    trainer = make_trainer(short, folder, model, kept, profiler)
    best = folder / "checkpoints" / "best.ckpt"
    with quiet(), _explained(), loader_workers(data.num_workers):
        started = time.perf_counter()
        trainer.fit(model, datamodule=data)
        in_trainer = time.perf_counter() - started
        trainer.save_checkpoint(best)
        trainer.test(loading.load_model(best), datamodule=data, verbose=False)
    size = steps * cfg.trainer.accumulate_grad_batches
    batches = profiler.batches(size * len(names))
    validations = profiler.evaluations(2 * len(names), "validation", "val")
    return Measured(
        start=in_trainer - sum(profiler.recorded_durations["run_training_epoch"]),
        stages={
            name: StageTimes(batches[k * size : (k + 1) * size], validations[2 * k + 1]) for k, name in enumerate(names)
        },
        test=profiler.evaluations(1, "test", "test")[0],
        save=profiler.recorded_durations["save_checkpoint"][-1],
        checkpoint_bytes=best.stat().st_size,
        sample=_seconds_of_sample(data.train_dataloader().dataset),
        device=trainer.strategy.root_device.type,
        peak_bytes=memory.peak_bytes(trainer.strategy.root_device.type),
        loss=float(model.train_values["train/loss"]),
    )


def stage_lengths(model: RestorationModel, max_steps: int) -> dict[str, int]:
    """Steps of each stage of a training, by the stage's name; a model that is not staged has one stage."""
    return model.stage_lengths(max_steps) if isinstance(model, Staged) else {"training": max_steps}


def period(model: RestorationModel) -> int:
    """See :class:`Staged`; 1 for other models."""
    return model.period if isinstance(model, Staged) else 1


def steps_of_stage(model: RestorationModel, steps: int) -> int:
    """Steps of each stage of a dry run: even, so that two validations fit, and at least two of the model's periods."""
    least = max(steps, WARM_UP + 2 * period(model) + 2)
    return least + least % 2


def _seconds_of_sample(samples: Any) -> float:
    return timeit.timeit(lambda: [samples[k] for k in range(SAMPLES)], number=1) / SAMPLES


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


def limit_images(data: Data, counts: Mapping[str, int]) -> tuple[float, float]:
    """Cut the validation and test sets to a few images each, the largest among them.

    Args:
        counts: images of each whole test set, of which ``data`` may hold a part.

    Returns:
        How many times the pixels of the chosen images the whole sets have: validation, test.
    """
    if not isinstance(data, PairedData):
        return 1.0, 1.0
    totals, chosen = {}, {}
    for name, pairs in data.test_sets.items():
        pixels = [height * width for height, width in data.checked[name].sizes]
        totals[name] = sum(pixels) * counts[name] / len(pixels)
        order = sorted(range(len(pixels)), key=lambda k: -pixels[k])
        kept = order[:: max(1, (len(order) - 1) // (IMAGES - 1))][:IMAGES]
        data.test_sets[name] = [pairs[k] for k in kept]
        chosen[name] = sum(pixels[k] for k in kept)
    data.validation_sets = {name: data.test_sets[name] for name in data.validation_sets}
    validation, test = (
        sum(totals[name] for name in sets) / sum(chosen[name] for name in sets)
        for sets in (data.validation_sets, data.test_sets)
    )
    return validation, test


@contextmanager
def quiet() -> Iterator[None]:
    """Without output: a dry run's scores and warnings say nothing about the run."""
    logger = logging.getLogger("restore")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
