"""From a dry run to a whole run: seconds of each part. Pure arithmetic."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from restore.preflight.dry_run import IMAGES, Measured


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The time that a whole run takes.

    Attributes:
        measured: the dry run. before: seconds until the trainer is called.
        stages: steps of each. begin: the step that the run resumes from, 0 for a new one.
        val_every, save_every: steps. processes: that share the images of a validation and of the test.
        validation, test: how many times the pixels of the dry run's images the whole sets have.
    """

    measured: Measured
    stages: Mapping[str, int]
    val_every: int
    save_every: int
    before: float = 0.0
    begin: int = 0
    processes: int = 1
    validation: float = 1.0
    test: float = 1.0

    @cached_property
    def steps_left(self) -> dict[str, int]:
        """Steps of each stage that are still to do."""
        left, done = {}, 0
        for name, length in self.stages.items():
            left[name] = min(length, max(0, done + length - self.begin))
            done += length
        return left

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Of each part of the run.

        ``before`` the trainer is called, all files read; ``start``: from there to the first step; ``steps``;
        ``change``: what the first and last steps of the stages take longer; all ``validations`` and ``saves``;
        the ``test``; ``training``: what ``result.json`` will say, in the trainer, without the test; ``total``.
        """
        left, stages = self.steps_left, self.measured.stages
        training = {
            "start": self.measured.start,
            "steps": sum(left[name] * stage.step for name, stage in stages.items()),
            "change": sum(stage.change for name, stage in stages.items() if left[name]),
            "validations": self._validations(),
            # last.ckpt; best.ckpt at the most
            "saves": sum(math.ceil(sum(left.values()) / n) for n in (self.save_every, self.val_every))
            * self.measured.save,
        }
        parts = {"before": self.before, **training, "test": self.measured.test.seconds(self._share(self.test))}
        return parts | {"training": sum(training.values()), "total": sum(parts.values())}

    @property
    def waiting(self) -> float:
        """Share of the steps' time that is spent waiting for data."""
        stages = self.measured.stages.values()
        return sum(stage.wait for stage in stages) / sum(stage.step for stage in stages)

    def facts(self) -> dict[str, Any]:
        """For programs."""
        per_step = {name: stage.step for name, stage in self.measured.stages.items()}
        return {"seconds": self.seconds, "seconds_per_step": per_step, "waiting_share": self.waiting}

    def _validations(self) -> float:
        end, done, seconds = sum(self.stages.values()), self.begin, 0.0
        for name, left in self.steps_left.items():
            count = (done + left) // self.val_every - done // self.val_every
            done += left
            count += left > 0 and done == end and end % self.val_every > 0
            seconds += count * self.measured.stages[name].validation.seconds(self._share(self.validation))
        return seconds

    def _share(self, images: float) -> float:
        """Of one process, which has at least one image of each set."""
        return max(images / self.processes, 1 / IMAGES)
