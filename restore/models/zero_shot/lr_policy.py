"""When zero-shot training has stopped improving: a line fitted to the reconstruction error."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Line(NamedTuple):
    """A fitted line's slope per step and the standard error of that slope."""

    slope: float
    slope_error: float


def fit_line(steps: Sequence[float], errors: Sequence[float]) -> Line:
    """Least squares of error = a + slope * step, and the slope's standard error from the fit's covariance.

    Raises:
        ValueError: fewer than three points, which leave no residual to judge the slope by.
    """
    if len(steps) < 3:
        raise ValueError(f"a line through {len(steps)} points has no standard error, expected at least 3")
    x, y = np.asarray(steps, np.float64), np.asarray(errors, np.float64)
    x = x - x.mean()
    spread = (x**2).sum()
    slope = (x * y).sum() / spread
    residuals = y - y.mean() - slope * x
    variance = (residuals**2).sum() / (len(x) - 2)
    return Line(float(slope), float(np.sqrt(variance / spread)))


def has_flattened(steps: Sequence[float], errors: Sequence[float], *, ratio: float) -> bool:
    """Whether the fall is no longer clear: -ratio * slope <= standard error of the slope.

    Shocher et al. (CVPR 2018, section 3.2) fit the line and compare with its standard deviation. The standard error
    of the slope is meant: the deviation of the residuals does not shrink with more points, and is in other units.
    """
    line = fit_line(steps, errors)
    # <= and not <: of errors that do not change at all both sides are zero
    return -ratio * line.slope <= line.slope_error
