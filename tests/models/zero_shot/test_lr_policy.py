import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress

from restore.models.zero_shot.lr_policy import has_flattened


@settings(deadline=None, max_examples=30)
@given(
    # of constant errors scipy gives no standard error
    errors=st.lists(st.floats(-10, 10), min_size=3, max_size=12).filter(lambda e: max(e) - min(e) > 1e-3),
    first=st.integers(0, 10_000),
    gap=st.integers(1, 100),
)
def test_slope_and_standard_error_are_scipys(errors: list[float], first: int, gap: int) -> None:
    steps = [first + gap * k for k in range(len(errors))]
    line = linregress(steps, errors)
    limit = line.stderr / max(-line.slope, 1e-12)  # the ratio at which the answer changes
    assert has_flattened(steps, errors, ratio=limit * 0.999 - 1e-6)
    if line.slope < -1e-6:
        assert not has_flattened(steps, errors, ratio=limit * 1.001 + 1e-6)


@pytest.mark.parametrize("count", [3, 4, 5, 20])
@pytest.mark.parametrize("error", [0.0, 0.1, 1 / 3, 0.0123])
def test_errors_that_do_not_change_have_flattened(count: int, error: float) -> None:
    assert has_flattened([137 + 50 * k for k in range(count)], [error] * count, ratio=1.5)


def test_two_points_are_refused() -> None:
    with pytest.raises(ValueError, match="number of data points"):
        has_flattened([0, 50], [1.0, 0.5], ratio=1.5)


def test_a_clear_fall_has_not_flattened_and_a_rise_has() -> None:
    steps = np.arange(6) * 50
    assert not has_flattened(steps.tolist(), (1e-3 - 1e-6 * steps).tolist(), ratio=1.5)
    assert has_flattened(steps.tolist(), (1e-3 + 1e-6 * steps + [0, 1e-5, 0, 1e-5, 0, 1e-5]).tolist(), ratio=1.5)
