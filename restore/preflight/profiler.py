"""Lightning's times of its actions, and the stages of a dry run made of them."""

from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch.profilers import SimpleProfiler
from numpy.typing import NDArray

WARM_UP = 2  # steps that take longer, because caches are filled and memory is allocated
FETCH = ".train_dataloader_next"
STEP = (FETCH, ".on_train_batch_start", "run_training_batch", ".on_train_batch_end")

Times = NDArray[np.float64]  # seconds


class Evaluation(NamedTuple):
    """Seconds of a validation or test for its images, and for what is done once, like drawing curves."""

    images: float
    once: float

    def seconds(self, images: float) -> float:
        """With so many times the pixels."""
        return self.once + images * self.images


class StageTimes(NamedTuple):
    """Seconds in a stage of the training.

    Attributes:
        step: a usual one. wait: of it, for data. change: what the first steps and the last take longer in all.
        validation: the last one.
    """

    step: float
    wait: float
    change: float
    validation: Evaluation


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

    def seconds(self, count: int, *actions: str) -> Times:
        """Of some actions, all together, in each of ``count`` equal parts of the run.

        Args:
            actions: how their names end, for example ``.on_train_batch_end``, which each callback has.
        """
        found = (times for name, times in self.recorded_durations.items() if name.endswith(actions))
        equal = (np.reshape(times[: len(times) // count * count], (count, -1)) for times in found)
        return sum((parts.sum(1) for parts in equal), np.zeros(count))

    def evaluations(self, count: int, loop: str, prefix: str) -> list[Evaluation]:
        """Each of ``count`` validations or tests.

        Args:
            loop, prefix: Lightning's names: ``validation`` and ``val``, ``test`` and ``test``.
        """
        hooks = (f".on_{loop}{kind}_{when}" for kind in ("", "_epoch", "_batch") for when in ("start", "end"))
        images, once = self.seconds(count, f".{prefix}_next", f".{loop}_step"), self.seconds(count, *hooks)
        return [Evaluation(*each) for each in zip(images.tolist(), once.tolist(), strict=True)]


def measured_stages(
    profiler: Profiler, names: list[str], steps: int, *, period: int, least: float
) -> dict[str, StageTimes]:
    """The stages of a dry run.

    Args:
        steps: of each stage; two validations are made in each.
        period: steps after which the model has done once all that it does now and then.
        least: seconds of a step when loader workers are no longer ahead, which they are at first.
    """
    shape = (len(names), steps)
    seconds, waits = (profiler.seconds(len(names) * steps, *each).reshape(shape) for each in (STEP, (FETCH,)))
    step, wait = _usual(seconds, period), _usual(waits, period)
    change = (seconds[:, :WARM_UP].sum(1) + seconds[:, -1] - (WARM_UP + 1) * step).clip(min=0)
    missing = (least - step).clip(min=0)
    validations = profiler.evaluations(2 * len(names), "validation", "val")[1::2]
    columns = ((step + missing).tolist(), (wait + missing).tolist(), change.tolist(), validations)
    return {name: StageTimes(*each) for name, *each in zip(names, *columns, strict=True)}


def _usual(times: Times, period: int) -> Times:
    """Median over blocks of ``period`` steps, without the first steps of a stage and its last: one for each row."""
    usual = times[:, WARM_UP:-1]
    blocks = usual.shape[1] // period
    means: Times = usual[:, : blocks * period].reshape(len(times), blocks, period).mean(2)
    return np.asarray(np.median(means, axis=1))
