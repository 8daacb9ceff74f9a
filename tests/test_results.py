import numpy as np
import pytest
from scipy.stats import bootstrap

from restore.results import paired


def test_the_interval_is_scipys() -> None:
    differences = np.random.default_rng(3).normal(0.1, 0.3, 60)
    found = paired(differences.tolist())
    theirs = bootstrap((differences,), np.mean, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    assert found.mean == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.005)
    assert found.wins == (differences > 0).mean()
    assert paired(differences.tolist()) == found


def test_one_image_has_an_interval_of_no_width() -> None:
    assert paired([0.5]) == (0.5, 0.5, 0.5, 1.0)


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        paired([])
