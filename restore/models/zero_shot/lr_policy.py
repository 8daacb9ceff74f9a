"""The learning-rate policy of a scale step: the rate falls when the reconstruction error stops falling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from restore.io.errors import SettingError
from restore.models import optimization


@dataclass(frozen=True, kw_only=True)
class LRPolicy:
    """Settings of the learning rate, named like the model's arguments.

    Attributes:
        lr: of Adam, at the start of every scale step.
        lr_decay: factor applied to the learning rate when the reconstruction error has flattened.
        lr_decay_ratio: flattened means -ratio * slope <= standard error of the slope, see :func:`has_flattened`.
        lr_decay_range: the slope is fitted to the errors of this many past steps; also the minimum number of steps at
            one learning rate.
        lr_decay_step: steps between two such checks.
        lr_stop: a scale step ends when the learning rate has fallen to this value.
        anneal: fraction of a scale step's budget, at its end, over which the learning rate falls linearly to zero.

    Raises:
        SettingError: a value is out of bounds.
    """

    lr: float = 1e-3
    lr_decay: float = 0.1
    lr_decay_ratio: float = 1.5
    lr_decay_range: int = 256
    lr_decay_step: int = 60
    lr_stop: float = 1e-6
    anneal: float = 0.2

    def __post_init__(self) -> None:
        for name in ("lr", "lr_stop", "lr_decay_ratio"):
            optimization.check_positive(name, getattr(self, name))
        optimization.check_steps("lr_decay_range", self.lr_decay_range, least=150)  # three errors, to fit a line
        optimization.check_steps("lr_decay_step", self.lr_decay_step, least=1)
        if not 0 < self.lr_decay < 1:
            raise SettingError("model.lr_decay", self.lr_decay, "a number between 0 and 1")
        if not 0 <= self.anneal <= 1:
            raise SettingError("model.anneal", self.anneal, "a number from 0 to 1")

    def lr_after(self, drops: int) -> float:
        """The learning rate after ``drops`` drops, before annealing."""
        return float(self.lr * self.lr_decay**drops)

    def is_at_stop(self, drops: int) -> bool:
        """Whether the learning rate has fallen to ``lr_stop``."""
        return self.lr_after(drops) <= self.lr_stop * (1 + 1e-9)


@dataclass
class ScaleStep:
    """State of one scale step.

    Attributes:
        begin: optimiser step at which it began. from_batch: first batch cut from its fathers.
        father: result of the previous scale step, float (3, H, W); None in the first.
        budget: maximum optimiser steps. drops: number of drops of the learning rate. dropped: step of the last drop.
        steps, errors: steps of the error measurements, and the reconstruction errors (mean square, whole image).
        bicubic: error of interpolation.
        best: weights with the smallest error.
        ended, fell_back: whether it has ended, and whether interpolation was better.
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
        """The smallest error; infinite before the first measurement."""
        return min(self.errors, default=math.inf)

    def should_drop(self, step: int, policy: LRPolicy) -> bool:
        """Whether the learning rate should fall after optimiser step ``step``."""
        recent = [k for k, at in enumerate(self.steps) if at > step - policy.lr_decay_range]
        if (step - self.begin) % policy.lr_decay_step or step - self.dropped < policy.lr_decay_range or len(recent) < 3:
            return False
        return has_flattened(
            [self.steps[k] for k in recent], [self.errors[k] for k in recent], ratio=policy.lr_decay_ratio
        )


def has_flattened(steps: Sequence[float], errors: Sequence[float], *, ratio: float) -> bool:
    """Whether the error no longer clearly falls: -ratio * slope <= standard error of the slope.

    Shocher et al. (CVPR 2018, section 3.2) fit a line and compare its slope with its standard deviation. We use the
    standard error of the slope, because the deviation of the residuals does not shrink with more points, and has other
    units.

    Args:
        steps, errors: at least three points, because two leave no residual.

    Raises:
        ValueError: fewer than three points.
    """
    # relative to the first point, so that for constant errors both sides are exactly zero
    x, y = np.asarray(steps, np.float64) - steps[0], np.asarray(errors, np.float64) - errors[0]
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    return bool(-ratio * slope <= np.sqrt(covariance[0, 0]))
