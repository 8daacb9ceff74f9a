import numpy as np
import pytest
from scipy.stats import bootstrap

from restore.io.tables import markdown
from restore.runs.results import Means, paired, table


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


def test_a_gain_is_positive_where_smaller_is_better_too_and_what_is_missing_is_said() -> None:
    means: Means = {"mine": {"a": {"l1": 0.1, "fid": None}}, "other": {"a": {"l1": 0.15, "fid": 3.0}}}
    header, _, mine, other = markdown(table(means, 1, "translation_rgb")).splitlines()
    assert header == "| x1, translation_rgb | benchmark | l1 | fid | gain over other |"
    assert mine == "| mine | a | 0.1000 | not available | +0.0500 |"
    assert other == "| other | a | 0.1500 | 3.000 |  |"
    larger: Means = {"mine": {"a": {"psnr_y": 30.0}}, "other": {"a": {"psnr_y": 31.0}}}
    assert "| mine | a | 30.000 | -1.000 |" in markdown(table(larger, 2, "sr_y"))
