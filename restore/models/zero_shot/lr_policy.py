"""When zero-shot training has stopped improving: a line fitted to the reconstruction error."""

from collections.abc import Sequence

import numpy as np


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
