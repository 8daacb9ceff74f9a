import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress

from restore.models.zero_shot.lr_policy import fit_line, has_flattened


@settings(max_examples=30)
@given(
    # of constant errors scipy gives no standard error; ours is then zero
    errors=st.lists(st.floats(-10, 10), min_size=3, max_size=12).filter(lambda e: max(e) - min(e) > 1e-3),
    gap=st.integers(1, 100),
)
def test_the_line_is_scipys(errors: list[float], gap: int) -> None:
    steps = [gap * k for k in range(len(errors))]
    ours, theirs = fit_line(steps, errors), linregress(steps, errors)
    assert ours.slope == pytest.approx(theirs.slope, abs=1e-9)
    assert ours.slope_error == pytest.approx(theirs.stderr, abs=1e-6)


def test_two_points_are_refused() -> None:
    with pytest.raises(ValueError, match="a line through 2 points"):
        fit_line([0, 50], [1.0, 0.5])


def test_a_clear_fall_has_not_flattened_and_a_rise_has() -> None:
    steps = np.arange(6) * 50
    assert not has_flattened(steps.tolist(), (1e-3 - 1e-6 * steps).tolist(), ratio=1.5)
    assert has_flattened(steps.tolist(), (1e-3 + 1e-6 * steps + [0, 1e-5, 0, 1e-5, 0, 1e-5]).tolist(), ratio=1.5)
