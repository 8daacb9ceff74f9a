"""Chooses ``trainer.max_steps`` so that a run ends within ``trainer.max_time``: dry runs, then arithmetic."""

import copy
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng

from restore.callbacks.contract import Staged
from restore.callbacks.end_in_slot import EndInSlot, Plan
from restore.callbacks.graceful_stop import GracefulStop
from restore.callbacks.stage_report import StageReport
from restore.config.build import build
from restore.data.base import PairedData
from restore.distributed import collectives
from restore.io.errors import SettingError
from restore.io.progress import doing
from restore.io.wording import counted
from restore.models.base import Keep, RestorationModel
from restore.runs.folder import DRY_RUN
from restore.training.dry_run import LEFT_OUT, Measured, dry_run, keep_largest
from restore.training.forecast import PlannedRun, Rest, forecast
from restore.training.max_time import TimeSlot, clock, process_started, time_slot
from restore.training.parts import Data

if TYPE_CHECKING:
    from restore.config.schemas import FitConfig

log = logging.getLogger(__name__)

MARGIN = 0.04  # fraction of the slot left free, because a machine's speed varies
SHARE = 0.03  # fraction of the slot spent on measuring
MOST = 400  # maximum steps measured in each stage
LEAVING = 2.0  # seconds to write the result and end the process on an idle machine
QUIET = (*LEFT_OUT, StageReport)  # StageReport prints the plan of a run
LEAST = 10  # minimum steps of each stage; fewer train nothing
SHARES = 10**6  # a large number of steps, divided into stages to obtain the stages' fractions


def in_slot(
    cfg: "FitConfig",
    config: dict[str, Any],
    folder: Path,
    model: RestorationModel,
    data: Data,
    stored: dict[str, Any] | None,
    started: float | None,
    *,
    is_new_run: bool,
) -> EndInSlot | None:
    """Choose the number of steps of a run with ``trainer.max_time``, and write it into the run's settings.

    A run that resumes keeps its number of steps. All processes of a training must call this.

    Args:
        cfg: the root of ``restore fit``. config: the same as plain containers. Both are changed.
        folder: the run folder. model, data: of the run, with the data prepared; unchanged.
        stored: the checkpoint to resume from, if any.
        started: Unix time at which the run began.

    Returns:
        The callback that ends the training in time, or None without ``trainer.max_time``.

    Raises:
        SettingError: the time is too short for a useful number of steps.
    """
    slot = time_slot(cfg.trainer.max_time, started)
    if slot is None:
        return None
    if stored is not None and not is_new_run:
        plan = kept_plan(stored) or Plan(cfg.trainer.max_steps)  # the run began without a time limit
    else:
        begin = 0 if stored is None else int(stored["global_step"])
        plan = _choose(cfg, folder, data, begin, stage_shares(model), slot)
        log.info("trainer.max_time=%s allows %s", slot, counted(plan.max_steps, "step"))
        if isinstance(model, Staged):
            model.stage_lengths(plan.max_steps)  # raises if a stage would have no steps
    cfg.trainer.max_steps = config["trainer"]["max_steps"] = plan.max_steps
    return EndInSlot(slot.ends, plan, leaving())


def kept_plan(stored: dict[str, Any]) -> Plan | None:
    """The plan stored in a checkpoint, or None if the run had no time limit."""
    chosen = stored["callbacks"].get(EndInSlot.__qualname__)
    return None if chosen is None else Plan(**chosen)


def _choose(cfg: "FitConfig", folder: Path, data: Data, begin: int, shares: dict[str, float], slot: TimeSlot) -> Plan:
    measured, rest = _measured(cfg, LEAST, data, len(shares), folder, slot)
    more = int(SHARE * slot.seconds / measured.step.sum())
    if more > 2 * LEAST:
        measured, rest = _measured(cfg, min(more, MOST), data, len(shares), folder, slot)
    measured, left = collectives.broadcast((measured, slot.left - leaving()), 0)
    # one process: the dry run has already shared the images among the processes
    run = PlannedRun(shares, begin, cfg.val_every_steps, cfg.checkpoint.every_steps, processes=1)
    return planned(slot.seconds, left, run, measured, rest)


def leaving() -> float:
    """Seconds from the last score to the end of the process; more on a machine that is busy with other programs."""
    busy = (time.time() - process_started()) / max(time.process_time(), 1.0)
    return LEAVING * min(max(busy, 1.0), 5.0)


def stage_shares(model: RestorationModel) -> dict[str, float]:
    """Fraction of the steps in each stage of a model."""
    lengths = model.stage_lengths(SHARES) if isinstance(model, Staged) else {"training": SHARES}
    total = sum(lengths.values())
    return {name: length / total for name, length in lengths.items()}


def planned(seconds: float, left: float, run: PlannedRun, measured: Measured, rest: Rest) -> Plan:
    """The largest number of steps that ends in time. Pure arithmetic.

    Args:
        seconds: length of the slot. left: seconds left for everything before the result is written.
        run: its ``stages`` holds fractions. measured, rest: from a dry run.

    Raises:
        SettingError: fewer than ``LEAST`` steps of each stage fit.
    """

    def parts(steps: int) -> dict[str, float]:
        stages = {name: share * steps for name, share in run.stages.items()}
        return forecast(run._replace(stages=stages), measured, rest, 0.0)

    least, available = run.begin + LEAST * len(run.stages), left - MARGIN * seconds
    needed = sum(parts(least).values())
    if needed > available:
        enough = clock(math.ceil((seconds - left + needed) / (1 - MARGIN)))
        expected = f"at least about {enough} here, for {least - run.begin} steps, their validation and scoring"
        raise SettingError(
            "trainer.max_time", clock(seconds), expected, "set a longer time, or train a smaller network"
        )
    steps = _most(lambda count: sum(parts(count).values()) <= available, least)
    found, ends = parts(steps), [round(each * steps) for each in _cumulated(run.stages.values())]
    return Plan(
        steps,
        list(zip(ends, measured.step.tolist(), strict=True)),
        training=float(found["start"] + found["steps"] + found["validation"] + found["checkpoints"]),
        validation=float(measured.validation[-1] @ [rest.validation, 1]) + 2 * measured.save,
        scoring=found["test"],
    )


def _cumulated(shares: Any) -> list[float]:
    shares = list(shares)
    return [sum(shares[: k + 1]) for k in range(len(shares))]


def _most(fits: Callable[[int], bool], least: int) -> int:
    """The largest number that fits; ``least`` is known to fit."""
    most, too_many = least, 2 * least
    while fits(too_many):
        most, too_many = too_many, 2 * too_many
    while too_many - most > 1:
        middle = (most + too_many) // 2
        most, too_many = (middle, too_many) if fits(middle) else (most, middle)
    return most


def _model(cfg: "FitConfig") -> RestorationModel:
    """A second model like that of the run, so that the run's own stays unchanged."""
    model: RestorationModel = build(cfg.model, "model")
    model.keep = cast("Keep | None", cfg.checkpoint.keep)
    return model


def _few(data: Data) -> tuple[Data, Rest]:
    """The data with only the images that a dry run validates on, and how much more the whole run has."""
    if not isinstance(data, PairedData):
        return copy.deepcopy(data), Rest()
    few = copy.copy(data)  # shares the cache
    few.test_sets, few.validation_sets = dict(data.test_sets), dict(data.validation_sets)
    pixels = keep_largest(few)
    validation, test = (
        [sum(pixels[name][k] for name in names) for k in (0, 1)] for names in (few.validation_sets, few.test_sets)
    )
    return few, Rest(validation=validation[0] / validation[1], test=test[0] / test[1])


def _measured(
    cfg: "FitConfig", steps: int, data: Data, stages: int, folder: Path, slot: TimeSlot
) -> tuple[Measured, Rest]:
    """Measure a training of another model for ``steps`` steps of each stage, in a folder that is then removed."""
    work, (few, rest) = folder / DRY_RUN, _few(data)

    @contextmanager
    def saying(what: str, line: Callable[[], str]) -> Iterator[None]:
        log.info("dry run, to choose trainer.max_steps: %s", what)
        with doing(lambda: f"dry run: {line()}"):
            yield

    shutil.rmtree(work, ignore_errors=True)  # left by a start that was killed
    callbacks = [_NotTooLong(slot.left / 2, slot), GracefulStop()]
    best = work / "checkpoints" / "best.ckpt"
    try:
        with isolate_rng(), _without_scores():
            measured = dry_run(cfg, steps, best, _model(cfg), few, stages, saying, callbacks, QUIET)
        collectives.barrier()  # the other processes may still read the folder
    finally:
        if not collectives.rank():
            shutil.rmtree(work, ignore_errors=True)
    return measured, rest


@contextmanager
def _without_scores() -> Iterator[None]:
    """Log only warnings of models in the block: the scores of a dry run mean nothing."""
    models = logging.getLogger("restore.models")
    before = models.level
    models.setLevel(logging.WARNING)
    try:
        yield
    finally:
        models.setLevel(before)


class _NotTooLong(Callback):
    """Ends a dry run that takes too much of the slot.

    Args:
        seconds: maximum for the dry run. slot: the run's time slot.
    """

    def __init__(self, seconds: float, slot: TimeSlot) -> None:
        self._slot, self._ends = slot, time.monotonic() + seconds

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End with an error when the time is over."""
        if time.monotonic() > self._ends and not trainer.global_rank:
            expected = f"more, because {trainer.global_step} steps of a dry run already took half of it"
            raise SettingError(
                "trainer.max_time", str(self._slot), expected, "set a longer time, or train a smaller network"
            )
