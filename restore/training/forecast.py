"""From a dry run to a whole run: seconds of each part. Pure arithmetic."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from restore.training.dry_run import IMAGES, Measured


class Rest(NamedTuple):
    """How many times the opened ``files``, and the pixels of the images that a dry run validates or tests, a run has.

    ``cache_bytes`` is the size of decoded training images that were not opened, and ``packed`` are the seconds spent on
    a pack that is complete now.
    """

    files: float = 1.0
    validation: float = 1.0
    test: float = 1.0
    cache_bytes: int = 0
    packed: float = 0.0


class PlannedRun(NamedTuple):
    """A whole run: steps of each stage, the step that it resumes from, and the processes that share the images."""

    stages: Mapping[str, float]
    begin: int
    val_every: int
    save_every: int
    processes: int

    @property
    def left(self) -> NDArray[np.int64]:
        """Steps of each stage that are still to do."""
        lengths = np.array(list(self.stages.values()))
        return np.asarray((lengths.cumsum() - self.begin).clip(0, lengths))


def forecast(run: PlannedRun, measured: Measured, rest: Rest, preparation: float) -> dict[str, float]:
    """Seconds of the parts of a run: ``preparation`` until the trainer is called, what it does once, steps, ..."""
    left, steps = run.left, int(run.left.sum())
    validation, test = (np.array([max(each / run.processes, 1 / IMAGES), 1]) for each in (rest.validation, rest.test))
    validations = math.ceil((run.begin + steps) / run.val_every) - run.begin // run.val_every
    saves = math.ceil(steps / run.save_every) + validations  # last.ckpt, and best.ckpt at the most
    return {
        "preparation": preparation,
        "start": measured.start,
        "steps": float(left @ measured.step),
        "validation": float(validations * (left @ (measured.validation @ validation)) / max(1, steps)),
        "checkpoints": saves * measured.save,
        "test": float(measured.test @ test),
    }
