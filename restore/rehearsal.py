"""A short training, validation and test, with a stopwatch: what ``restore check`` forecasts a whole run from."""

import contextlib
import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from restore import checkpoint, memory, training
from restore.callbacks.run_checkpoint import RunCheckpoint
from restore.data.base import PairedData

WARM_UP = 2  # steps that take longer, because caches fill and memory is taken
SAMPLES = 8  # of the training data, timed one by one
PICTURES = 3  # of each set that is validated on


class Lap(NamedTuple):
    """One batch, from the end of the one before: seconds in all, and of these waiting for the data."""

    total: float
    wait: float


class Whole(NamedTuple):
    """A validation or a test: seconds in all, and of these for its pictures."""

    total: float
    pictures: float


class Measured(NamedTuple):
    """What a rehearsal found; times in seconds.

    Attributes:
        start: from the call of the trainer to the first batch.
        laps: of each batch, by stage.
        validations: by stage, two of each.
        test: of the chosen pictures.
        saves: of a checkpoint. checkpoint_bytes: its size.
        sample: of making one training sample in one process.
        peak_bytes: of memory, so far, of this process or on its accelerator.
        loss: the last one.
    """

    start: float
    laps: dict[str, list[Lap]]
    validations: dict[str, list[Whole]]
    test: Whole
    saves: list[float]
    checkpoint_bytes: int
    sample: float
    peak_bytes: int
    loss: float


class Stopwatch(Checkpoint):
    """Notes when what happened. Lightning runs callbacks of this class last, so each hook has been done."""

    def __init__(self) -> None:
        self.laps: list[Lap] = []
        self.wholes: list[Whole] = []
        self.saves: list[float] = []
        self.pictures = 0.0
        self.started = self.newest = _clock()
        self.first: float | None = None
        self._validated = 0.0
        self._begun = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The wait is over."""
        self._begun = _clock()
        if self.first is None:
            self.first = self.newest = self._begun

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The work is done."""
        now = _clock()
        total, wait = now - self.newest - self._validated, self._begun - self.newest - self._validated
        self.laps.append(Lap(total, wait))
        self.newest, self._validated = now, 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of a test as well."""
        self._begin = self.picture_ended = _clock()
        self.pictures = 0.0

    def on_validation_batch_end(self, *_: Any) -> None:
        """All is done for a picture, also what is drawn of it."""
        self.picture_ended = _clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of a test as well."""
        seconds = _clock() - self._begin
        self.wholes.append(Whole(seconds, self.pictures))
        self._validated = seconds

    on_test_start, on_test_batch_end, on_test_end = on_validation_start, on_validation_batch_end, on_validation_end

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save as a run does: twice, the first time takes longer."""
        for name in ("best.ckpt", "last.ckpt"):
            started = _clock()
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / name)
            self.saves.append(_clock() - started)


class PictureWatch(Callback):
    """Runs first, and so notes when a picture is scored, before anything is drawn of it."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_validation_batch_end(self, *_: Any) -> None:
        """Of a test as well."""
        self.watch.pictures += _clock() - self.watch.picture_ended

    on_test_batch_end = on_validation_batch_end


def _clock() -> float:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def batches_of_stage(model: Any, steps: int, accumulate: int) -> int:
    """Batches of each stage of a rehearsal: an even number of steps, so that two validations fit, and a few blocks."""
    least = max(steps, WARM_UP + 2 * model.period + 2)
    return int((least + least % 2) * accumulate)


def rehearse(cfg: Any, folder: Path, model: Any, data: Any) -> Measured:
    """Train ``model`` for a few steps in each of its stages, and validate, save and test as ``fit`` does.

    Args:
        cfg: the root of ``restore fit`` with ``check.steps``; changed here to what is tried.
        folder: for what a run leaves.
        data: checked; its sets are cut to :func:`choose`'s pictures.

    Raises:
        ValueError: the accelerator's memory does not suffice; what a training raises.
    """
    accumulate = cfg.trainer.accumulate_grad_batches
    names = list(model.stage_lengths(cfg.trainer.max_steps))
    batches = batches_of_stage(model, cfg.check.steps, accumulate)
    steps = batches // accumulate
    model.shorten_stages()
    cfg.trainer.max_steps, cfg.val_every_steps = steps * len(names), steps // 2
    trainer, _ = training.make_trainer(cfg, folder, is_new_run=True)
    watch = Stopwatch()
    kept = [each for each in trainer.callbacks if not isinstance(each, RunCheckpoint)]  # type: ignore[attr-defined]
    trainer.callbacks = [PictureWatch(watch), *kept, watch]  # type: ignore[attr-defined]
    for callback in kept:
        if hasattr(callback, "check"):  # as fit does
            callback.check(model)
    with _quiet():
        try:
            watch.started = _clock()
            trainer.fit(model, datamodule=data)
            best = folder / "checkpoints" / "best.ckpt"
            trainer.test(checkpoint.load_model(best), datamodule=data, verbose=False)
        except torch.OutOfMemoryError as error:
            raise ValueError(f"memory: this run does not fit the accelerator ({str(error).splitlines()[0]})") from error
    *validations, test = watch.wholes
    stages = {name: watch.laps[k * batches : (k + 1) * batches] for k, name in enumerate(names)}
    return Measured(
        start=(watch.first or 0.0) - watch.started,
        laps=stages,
        validations={name: validations[2 * k : 2 * k + 2] for k, name in enumerate(names)},
        test=test,
        saves=watch.saves,
        checkpoint_bytes=best.stat().st_size,
        sample=_seconds_of_sample(data),
        peak_bytes=memory.peak_bytes(trainer.strategy.root_device.type),
        loss=float(model.train_values["train/loss"]),
    )


def _seconds_of_sample(data: Any) -> float:
    dataset = data.train_dataloader().dataset
    started = time.perf_counter()
    for number in range(SAMPLES):
        dataset[number]
    return (time.perf_counter() - started) / SAMPLES


def choose(data: Any) -> tuple[float, float]:
    """Cut the sets to a few pictures, the largest first.

    Returns:
        How many times the pixels of those chosen the validation sets have, and the test sets.
    """
    if not isinstance(data, PairedData):
        return 1.0, 1.0
    pixels = {name: [h * w for h, w in data.checked[name].sizes] for name in data.test_sets}
    totals = {name: sum(each) * len(data.test_sets[name]) / len(each) for name, each in pixels.items()}
    tried = {}
    for name, pairs in data.test_sets.items():
        order = sorted(range(len(pixels[name])), key=lambda k: -pixels[name][k])  # noqa: B023
        chosen = order[:: max(1, (len(order) - 1) // (PICTURES - 1))][:PICTURES]
        data.test_sets[name] = [pairs[k] for k in chosen]
        tried[name] = sum(pixels[name][k] for k in chosen)
    data.validation_sets = {name: data.test_sets[name] for name in data.validation_sets}
    validation, test = (
        sum(totals[name] for name in sets) / sum(tried[name] for name in sets)
        for sets in (data.validation_sets, data.test_sets)
    )
    return validation, test


@contextmanager
def _quiet() -> Iterator[None]:
    """A rehearsal's scores, warnings and plans say nothing about the run."""
    logger = logging.getLogger("restore")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
