"""From a dry run to a whole run: seconds of each part. Pure arithmetic."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from restore.preflight.dry_run import IMAGES, WARM_UP, Batch, Measured


@dataclass(frozen=True)
class Plan:
    """What a run is to do.

    Attributes:
        stages: steps of each. begin: the step that it resumes from, 0 for a new run.
        val_every, save_every: steps. accumulate: batches of a step.
        period: steps after which the model has done once all that it does now and then.
        batch_size: samples of a batch in one process. workers: that load them in one process; 0 for none.
        processes: that share the images of a validation and of the test.
        pixels: how many times the pixels of the images of the dry run: validation sets, test sets.
    """

    stages: Mapping[str, int]
    val_every: int
    save_every: int
    batch_size: int
    begin: int = 0
    accumulate: int = 1
    period: int = 1
    workers: int = 0
    processes: int = 1
    pixels: tuple[float, float] = (1.0, 1.0)

    @property
    def steps_left(self) -> dict[str, int]:
        """Steps of each stage that are still to do."""
        left, done = {}, 0
        for name, length in self.stages.items():
            left[name] = min(length, max(0, done + length - self.begin))
            done += length
        return left


class Forecast(NamedTuple):
    """Seconds of the parts of a whole run.

    Attributes:
        before: until the trainer is called, all files read. start: from there to the first step.
        steps: of training. change: start and end of stages, and their first steps, which take longer.
        validations, saves, test: all of each kind.
        step: one step of each stage.
    """

    before: float
    start: float
    steps: float
    change: float
    validations: float
    saves: float
    test: float
    step: dict[str, Batch]

    @property
    def total(self) -> float:
        """From the first file read to the result."""
        return self.before + self.training + self.test

    @property
    def training(self) -> float:
        """What ``result.json`` will say: in the trainer, without the test."""
        return self.start + self.steps + self.change + self.validations + self.saves

    @property
    def waiting(self) -> float:
        """Share of the steps' time spent waiting for data."""
        return sum(step.wait for step in self.step.values()) / sum(step.seconds for step in self.step.values())


def forecast(measured: Measured, plan: Plan, before: float) -> Forecast:
    """Forecast a whole run.

    Args:
        before: seconds until the trainer is called.
    """
    # a process has at least one image of each set
    of_validation, of_test = (max(each / plan.processes, min(each, 1 / IMAGES)) for each in plan.pixels)
    left, end = plan.steps_left, sum(plan.stages.values())
    done, step, change, validations = end - sum(left.values()), {}, 0.0, 0.0
    for name, length in left.items():
        stage = measured.stages[name]
        step[name] = _usual_step(stage.batches, plan, measured.sample)
        change += _extra(stage.batches, plan.accumulate, step[name].seconds) if length else 0.0
        count = (done + length) // plan.val_every - done // plan.val_every
        done += length
        count += length > 0 and done == end and end % plan.val_every > 0
        validations += count * (stage.validation.once + of_validation * stage.validation.images)
    ahead = sum(left.values())
    saves = math.ceil(ahead / plan.save_every) + math.ceil(ahead / plan.val_every)  # last.ckpt; best.ckpt at the most
    return Forecast(
        before=before,
        start=measured.start,
        steps=sum(left[name] * each.seconds for name, each in step.items()),
        change=change,
        validations=validations,
        saves=saves * measured.save,
        test=measured.test.once + of_test * measured.test.images,
        step=step,
    )


def _usual_step(batches: Sequence[Batch], plan: Plan, sample: float) -> Batch:
    """Median step over blocks of ``period`` steps, without the first steps of the stage and its last.

    Args:
        sample: seconds for one sample. Loader workers are ahead at first, which does not last if they are too slow.
    """
    size = plan.period * plan.accumulate
    usual = batches[WARM_UP * plan.accumulate : -plan.accumulate]
    blocks = [usual[k : k + size] for k in range(0, len(usual) - size + 1, size)]
    seconds = statistics.median(sum(batch.seconds for batch in block) for block in blocks) / plan.period
    wait = statistics.median(sum(batch.wait for batch in block) for block in blocks) / plan.period
    loading = plan.accumulate * plan.batch_size * sample / plan.workers if plan.workers else 0.0
    missing = max(0.0, loading - seconds)
    return Batch(seconds + missing, wait + missing)


def _extra(batches: Sequence[Batch], accumulate: int, usual: float) -> float:
    """Seconds of the first steps of a stage and of its last beyond the usual ones."""
    begin, end = batches[: WARM_UP * accumulate], batches[-accumulate:]
    parts = ((begin, WARM_UP), (end, 1))
    return sum(max(0.0, sum(batch.seconds for batch in part) - count * usual) for part, count in parts)
