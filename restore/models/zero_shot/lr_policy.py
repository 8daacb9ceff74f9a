"""The learning-rate policy of a scale step: it falls when the reconstruction error has stopped falling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

BETWEEN_DROPS = 256  # least number of steps at one learning rate


@dataclass
class ScaleStep:
    """One scale step during its training.

    Attributes:
        begin: optimiser step at which it began. from_batch: first batch that is cut from its fathers.
        father: the result of the step before, float (3, H, W); None in the first.
        budget: optimiser steps it may take. drops: of the learning rate. dropped: step of the last drop.
        steps, errors: when reconstruction errors were measured, and these (mean square, whole image).
        bicubic: the error of interpolation alone.
        best: weights with the least error.
        ended, fell_back: whether it is over, and whether interpolation was better.
    """

    begin: int
    from_batch: int
    father: Tensor | None
    budget: int
    dropped: int
    drops: int = 0
    bicubic: float = math.inf
    steps: list[int] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    ended: bool = False
    fell_back: bool = False

    @property
    def least_error(self) -> float:
        """Infinite before the first measurement."""
        return min(self.errors, default=math.inf)

    def should_drop(self, step: int, *, window: int, ratio: float) -> bool:
        """Whether the learning rate should fall after optimiser step ``step``.

        Args:
            window: steps whose errors count. ratio: see :func:`has_flattened`.
        """
        recent = [k for k, at in enumerate(self.steps) if at > step - window]
        if step - self.dropped < BETWEEN_DROPS or len(recent) < 3:
            return False
        return has_flattened([self.steps[k] for k in recent], [self.errors[k] for k in recent], ratio=ratio)


def has_flattened(steps: Sequence[float], errors: Sequence[float], *, ratio: float) -> bool:
    """Whether the fall is no longer clear: -ratio * slope <= standard error of the slope.

    Shocher et al. (CVPR 2018, section 3.2) fit the line and compare with its standard deviation. The standard error
    of the slope is meant: the deviation of the residuals does not shrink with more points, and is in other units.

    Args:
        steps, errors: at least three points; two leave no residual to judge the slope by.

    Raises:
        ValueError: fewer points.
    """
    # from the first point on: of errors that do not change at all both sides are then exactly zero
    x, y = np.asarray(steps, np.float64) - steps[0], np.asarray(errors, np.float64) - errors[0]
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    return bool(-ratio * slope <= np.sqrt(covariance[0, 0]))
