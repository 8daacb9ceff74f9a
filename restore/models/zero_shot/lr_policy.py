"""The learning-rate policy of a scale step: it falls when the reconstruction error has stopped falling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from restore.io.errors import SettingError
from restore.models import optimization

BETWEEN_DROPS = 256  # least number of steps at one learning rate


@dataclass(frozen=True, kw_only=True)
class LRPolicy:
    """Settings of the learning rate, under the names of the model's arguments.

    Attributes:
        lr: of Adam, at the start of every scale step.
        lr_decay: the learning rate is multiplied by this when the reconstruction error has flattened.
        lr_decay_ratio: flattened means -ratio * slope < standard error of the slope, see :func:`has_flattened`.
        lr_decay_range: the slope is fitted to the errors of the last so many steps.
        lr_decay_step: steps between two such checks.
        lr_stop: a scale step ends when the learning rate has fallen to this.
        anneal: share of a scale step's budget, at its end, over which the learning rate falls linearly to zero.

    Raises:
        SettingError: a value outside its bounds.
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
        optimization.check_steps("lr_decay_range", self.lr_decay_range, least=150)  # three errors to fit a line to
        optimization.check_steps("lr_decay_step", self.lr_decay_step, least=1)
        if not 0 < self.lr_decay < 1:
            raise SettingError("model.lr_decay", self.lr_decay, "a number between 0 and 1")
        if not 0 <= self.anneal <= 1:
            raise SettingError("model.anneal", self.anneal, "a number from 0 to 1")

    def lr_after(self, drops: int) -> float:
        """The learning rate before annealing."""
        return float(self.lr * self.lr_decay**drops)

    def is_at_stop(self, drops: int) -> bool:
        """Whether the learning rate has fallen to ``lr_stop``."""
        return self.lr_after(drops) <= self.lr_stop * (1 + 1e-9)


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

    def should_drop(self, step: int, policy: LRPolicy) -> bool:
        """Whether the learning rate should fall after optimiser step ``step``."""
        recent = [k for k, at in enumerate(self.steps) if at > step - policy.lr_decay_range]
        if (step - self.begin) % policy.lr_decay_step or step - self.dropped < BETWEEN_DROPS or len(recent) < 3:
            return False
        return has_flattened(
            [self.steps[k] for k in recent], [self.errors[k] for k in recent], ratio=policy.lr_decay_ratio
        )


def has_flattened(steps: Sequence[float], errors: Sequence[float], *, ratio: float) -> bool:
    """Whether the fall is no longer clear: -ratio * slope <= standard error of the slope.

    Shocher et al. (CVPR 2018, section 3.2) fit the line and compare with its standard deviation. The standard error
    of the slope is meant: the deviation of the residuals does not shrink with more points, and is in other units.

    Args:
        steps, errors: at least three points; two leave no residual.

    Raises:
        ValueError: fewer points.
    """
    # from the first point on: of errors that do not change at all both sides are then exactly zero
    x, y = np.asarray(steps, np.float64) - steps[0], np.asarray(errors, np.float64) - errors[0]
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    return bool(-ratio * slope <= np.sqrt(covariance[0, 0]))
