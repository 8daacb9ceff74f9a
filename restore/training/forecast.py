"""Extrapolates the time of a whole run from a dry run, part by part. Pure arithmetic."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from restore.training.dry_run import IMAGES, Measured


class Rest(NamedTuple):
    """The data of a whole run compared with the data of the dry run.

    ``files``, ``validation`` and ``test`` are ratios, whole run to dry run: of files opened, of pixels validated, of
    pixels tested. ``cache_bytes`` is the size of the decoded training images that the dry run did not open, ``packed``
    the seconds that were spent on a pack which is now complete.
    """

    files: float = 1.0
    validation: float = 1.0
    test: float = 1.0
    cache_bytes: int = 0
    packed: float = 0.0


class PlannedRun(NamedTuple):
    """A whole run: steps of each stage, the step it resumes from, and the number of processes that share the images."""

    stages: Mapping[str, float]
    begin: int
    val_every: int
    save_every: int
    processes: int

    @property
    def left(self) -> NDArray[np.int64]:
        """Remaining steps of each stage."""
        lengths = np.array(list(self.stages.values()))
        return np.asarray((lengths.cumsum() - self.begin).clip(0, lengths))


def forecast(run: PlannedRun, measured: Measured, rest: Rest, preparation: float) -> dict[str, float]:
    """Seconds of each part of a run; ``preparation`` is the time before the trainer starts."""
    left, steps = run.left, int(run.left.sum())
    validation, test = (np.array([max(each / run.processes, 1 / IMAGES), 1]) for each in (rest.validation, rest.test))
    validations = math.ceil((run.begin + steps) / run.val_every) - run.begin // run.val_every
    saves = math.ceil(steps / run.save_every) + validations  # last.ckpt, and at most one best.ckpt per validation
    return {
        "preparation": preparation,
        "start": measured.start,
        "steps": float(left @ measured.step),
        "validation": float(validations * (left @ (measured.validation @ validation)) / max(1, steps)),
        "checkpoints": saves * measured.save,
        "test": float(measured.test @ test),
    }
