"""From a rehearsal to a whole run: hours, memory and disk space. Pure arithmetic."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from restore.preflight.dry_run import PICTURES, WARM_UP, Lap, Times, Whole


class Step(NamedTuple):
    """One step of a stage: seconds in all, and of these waiting for the data."""

    seconds: float
    wait: float


class Forecast(NamedTuple):
    """Seconds of the parts of a whole run.

    Attributes:
        before: until the trainer is called, all files read. start: from there to the first step.
        steps: of training. change: into and out of stages, and the first steps, which take longer.
        validations, saves, test: of each kind.
        step: by stage.
    """

    before: float
    start: float
    steps: float
    change: float
    validations: float
    saves: float
    test: float
    step: dict[str, Step]

    @property
    def total(self) -> float:
        """Seconds from the first file read to the result."""
        return self.before + self.training + self.test

    @property
    def training(self) -> float:
        """Seconds that ``result.json`` will say: in the trainer, without the test."""
        return self.start + self.steps + self.change + self.validations + self.saves

    @property
    def waiting(self) -> float:
        """Share of the steps' time spent waiting for the data."""
        wait, seconds = (sum(each) for each in zip(*((s.wait, s.seconds) for s in self.step.values()), strict=True))
        return float(wait / seconds)


def forecast(
    measured: Times,
    lengths: Mapping[str, int],
    *,
    before: float,
    begin: int,
    val_every: int,
    save_every: int,
    accumulate: int,
    period: int,
    times: tuple[float, float],
    samples: int,
    workers: int,
    processes: int,
) -> Forecast:
    """Reckon a whole run.

    Args:
        lengths: steps of each stage. before: seconds until the trainer is called.
        begin: the step it goes on from, 0 for a fresh run.
        val_every, save_every: steps. accumulate: batches of a step. period: see the model.
        times: how many times the pixels of those tried the validation sets have, and the test sets.
        samples: of a batch. workers: that make them; 0 for none.
        processes: that share the pictures of a validation and of the test; one has at least one picture of each set.
    """
    of_validation, of_test = (max(each / processes, min(each, 1 / PICTURES)) for each in times)
    steps, change, validations = {}, 0.0, 0.0
    end, left = sum(lengths.values()), steps_left(lengths, begin)
    done = end - sum(left.values())
    for name, length in left.items():
        laps = measured.laps[name]
        steps[name] = _step(laps, accumulate, period, measured.sample * samples, workers)
        change += _extra(laps, accumulate, steps[name].seconds) if length else 0.0
        count = (done + length) // val_every - done // val_every
        done += length
        count += length > 0 and done == end and end % val_every > 0
        validations += count * whole(measured.validations[name][-1], of_validation)
    first, second = next(iter(measured.validations.values()))
    validations += max(0.0, first.total - second.total)  # the first one of all loads what draws
    ahead = sum(left.values())
    saves = math.ceil(ahead / save_every) + math.ceil(ahead / val_every)  # last.ckpt, and best.ckpt at most so often
    return Forecast(
        before=before,
        start=measured.start,
        steps=sum(left[name] * each.seconds for name, each in steps.items()),
        change=change,
        validations=validations,
        saves=saves * measured.save,
        test=whole(measured.test, of_test),
        step=steps,
    )


def steps_left(lengths: Mapping[str, int], begin: int) -> dict[str, int]:
    """Of each stage, the steps that a run which goes on from step ``begin`` still has to do."""
    left, done = {}, 0
    for name, length in lengths.items():
        left[name] = min(length, max(0, done + length - begin))
        done += length
    return left


def whole(measured: Whole, times: float) -> float:
    """Seconds over all pictures; what is not done for a picture is done once."""
    return measured.total + (times - 1) * measured.pictures


def _step(laps: Sequence[Lap], accumulate: int, period: int, data: float, workers: int) -> Step:
    """The median over blocks of ``period`` steps, without the first ones and the last, which are different."""
    size = period * accumulate
    usual = laps[WARM_UP * accumulate : -accumulate]
    blocks = [usual[k : k + size] for k in range(0, len(usual) - size + 1, size)]
    seconds = statistics.median(sum(lap.total for lap in block) for block in blocks) / period
    wait = statistics.median(sum(lap.wait for lap in block) for block in blocks) / period
    if workers:  # at first they are ahead, which does not last where they are the slower ones
        missing = accumulate * data / workers - seconds
        seconds, wait = seconds + max(0.0, missing), wait + max(0.0, missing)
    return Step(seconds, wait)


def _extra(laps: Sequence[Lap], accumulate: int, usual: float) -> float:
    """What the first steps of a stage and its last take beyond the usual ones."""
    begin, end = laps[: WARM_UP * accumulate], laps[-accumulate:]
    return sum(max(0.0, sum(lap.total for lap in part) - count * usual) for part, count in ((begin, WARM_UP), (end, 1)))
