"""A short training, validation and test, with a stopwatch: what ``restore check`` forecasts a whole run from."""

import contextlib
import io
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from restore.callbacks.dashboards import Dashboard
from restore.callbacks.graceful_stop import GracefulStop
from restore.callbacks.run_checkpoint import RunCheckpoint
from restore.callbacks.run_report import RunReport
from restore.data.base import PairedData
from restore.models import loading
from restore.preflight import clocks, memory
from restore.preflight.clocks import Clock
from restore.training.trainer import make_trainer

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


class Times(NamedTuple):
    """What a stopwatch measured, in its seconds.

    Attributes:
        start: from the call of the trainer to the first batch.
        laps: of each batch, by stage.
        validations: by stage, two of each.
        test: of the chosen pictures.
        save: of a checkpoint.
        sample: of making one training sample in one process.
    """

    start: float
    laps: dict[str, list[Lap]]
    validations: dict[str, list[Whole]]
    test: Whole
    save: float
    sample: float


class Measured(NamedTuple):
    """What a rehearsal found.

    Attributes:
        wall: by the clock on the wall. alone: less what others had the cores for. processor: by how long this process
            had a core, all its threads added up.
        checkpoint_bytes: size of a checkpoint.
        peak_bytes: of memory, so far, of this process or on its accelerator.
        loss: the last one.
    """

    wall: Times
    alone: Times
    processor: Times
    checkpoint_bytes: int
    peak_bytes: int
    loss: float


class Stopwatch(Checkpoint):
    """Notes when what happened. Lightning runs callbacks of this class last, so each hook has been done.

    Args:
        clock: what it looks at. saves: name of the checkpoint it writes at the end, to see how long that takes.
    """

    def __init__(self, clock: Clock, saves: str) -> None:
        self.clock, self.saves = clock, saves
        self.laps: list[Lap] = []
        self.wholes: list[Whole] = []
        self.save = self.pictures = self._validated = self._begun = 0.0
        self.started = self.newest = clock()
        self.first: float | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The wait is over."""
        self._begun = self.clock()
        if self.first is None:
            self.first = self.newest = self._begun

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The work is done."""
        now = self.clock()
        total, wait = now - self.newest - self._validated, self._begun - self.newest - self._validated
        self.laps.append(Lap(total, wait))
        self.newest, self._validated = now, 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to time."""
        self._begin = self.picture_ended = self.clock()
        self.pictures = 0.0

    def on_validation_batch_end(self, *_: Any) -> None:
        """All is done for a picture, also what is drawn of it."""
        self.picture_ended = self.clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End of it."""
        seconds = self.clock() - self._begin
        self.wholes.append(Whole(seconds, self.pictures))
        self._validated = seconds

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """As of a validation."""
        self.on_validation_start(trainer, pl_module)

    def on_test_batch_end(self, *_: Any) -> None:
        """As of a validation."""
        self.on_validation_batch_end()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """As of a validation."""
        self.on_validation_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save as a run does."""
        started = self.clock()
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / self.saves)
        self.save = self.clock() - started

    def times(self, stages: Sequence[str], batches: int, sample: float) -> Times:
        """Sort what was noted.

        Args:
            stages: names. batches: of each. sample: seconds.
        """
        *validations, test = self.wholes
        return Times(
            start=(self.first or 0.0) - self.started,
            laps={name: self.laps[k * batches : (k + 1) * batches] for k, name in enumerate(stages)},
            validations={name: validations[2 * k : 2 * k + 2] for k, name in enumerate(stages)},
            test=test,
            save=self.save,
            sample=sample,
        )


class PictureWatch(Callback):
    """Runs first, and so notes when a picture is scored, before anything is drawn of it."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_validation_batch_end(self, *_: Any) -> None:
        """Before a panel is made."""
        self.watch.pictures += self.watch.clock() - self.watch.picture_ended

    def on_test_batch_end(self, *_: Any) -> None:
        """As of a validation."""
        self.on_validation_batch_end()


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
    make_trainer(cfg, folder, model, is_new_run=True)  # refuses now what is replaced below
    accumulate = cfg.trainer.accumulate_grad_batches
    names = list(model.stage_lengths(cfg.trainer.max_steps))
    batches = batches_of_stage(model, cfg.check.steps, accumulate)
    steps = batches // accumulate
    model.shorten_stages()
    cfg.trainer.max_steps, cfg.val_every_steps = steps * len(names), steps // 2
    trainer, _ = make_trainer(cfg, folder, model, is_new_run=True)
    best = folder / "checkpoints" / "best.ckpt"
    watches = [
        Stopwatch(clock, name)
        for clock, name in ((clocks.wall, best.name), (clocks.alone, "last.ckpt"), (time.process_time, "last.ckpt"))
    ]
    # the stopwatches save; the others tell of a described folder, or would save and go on another time
    left_out = RunCheckpoint, RunReport, Dashboard, GracefulStop
    kept = [each for each in trainer.callbacks if not isinstance(each, left_out)]  # type: ignore[attr-defined]
    trainer.callbacks = [*map(PictureWatch, watches), *kept, *watches]  # type: ignore[attr-defined]
    for callback in kept:
        if hasattr(callback, "check"):  # as fit does
            callback.check(model)
    with quiet():
        for watch in watches:
            watch.started = watch.clock()
        try:
            trainer.fit(model, datamodule=data)
            trainer.test(loading.load_model(best), datamodule=data, verbose=False)
        except torch.OutOfMemoryError as error:
            raise ValueError(f"memory: this run does not fit the accelerator ({str(error).splitlines()[0]})") from error
        except SystemExit as end:
            if end.code == 1:  # what Lightning makes of Ctrl-C
                raise KeyboardInterrupt("nothing is kept of a trial") from None
            raise
    on_wall, alone, of_processor = (
        watch.times(names, batches, _seconds_of_sample(data, watch.clock)) for watch in watches
    )
    return Measured(
        wall=on_wall,
        alone=alone,
        processor=of_processor,
        checkpoint_bytes=best.stat().st_size,
        peak_bytes=memory.peak_bytes(trainer.strategy.root_device.type),
        loss=float(model.train_values["train/loss"]),
    )


def _seconds_of_sample(data: Any, clock: Clock) -> float:
    dataset = data.train_dataloader().dataset
    started = clock()
    for number in range(SAMPLES):
        dataset[number]
    return (clock() - started) / SAMPLES


def choose(data: Any, counts: Mapping[str, int]) -> tuple[float, float]:
    """Cut the sets to a few pictures, the largest first.

    Args:
        counts: pictures of each test set, some of which may have been left out before.

    Returns:
        How many times the pixels of those chosen the validation sets have, and the test sets.
    """
    if not isinstance(data, PairedData):
        return 1.0, 1.0
    pixels = {name: [h * w for h, w in data.checked[name].sizes] for name in data.test_sets}
    totals = {name: sum(each) * counts[name] / len(each) for name, each in pixels.items()}
    tried = {}
    for name, pairs in data.test_sets.items():
        order = sorted(range(len(pixels[name])), key=lambda k: -pixels[name][k])
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
def quiet() -> Iterator[None]:
    """A rehearsal's scores, warnings and plans say nothing about the run."""
    logger = logging.getLogger("restore")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
