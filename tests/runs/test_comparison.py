"""Two runs compared image by image: statistics against scipy, and settings that differ."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from restore.runs.comparison import compare, differing, versus
from restore.runs.reader import read
from tests.runs.run_folders import Scores, results_csv, run_folder


def test_the_statistics_are_scipys(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    before, gains = random.normal(30, 3, 80), random.normal(0.2, 0.5, 80)
    after = before + gains
    results_csv(run_folder(tmp_path / "a") / "results.csv", {f"i{k}": before[k] for k in range(80)})
    results_csv(run_folder(tmp_path / "b") / "results.csv", {f"i{k}": after[k] for k in reversed(range(80))})
    found = compare(read(tmp_path / "a"), read(tmp_path / "b"))[0]
    theirs = stats.bootstrap((gains,), np.mean, method="percentile", rng=np.random.default_rng(9)).confidence_interval
    paired_t = stats.ttest_rel(after, before)
    assert found.gain == pytest.approx(paired_t.statistic * gains.std(ddof=1) / np.sqrt(80), abs=1e-5)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    normal = paired_t.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((normal.low, normal.high), abs=0.02)
    assert found.wins == pytest.approx(float((after > before).mean()))
    assert (found.images, found.only_first, found.only_second, found.infinite) == (80, 0, 0, 0)


def test_images_go_by_name_and_those_of_one_run_alone_are_counted(tmp_path: Path) -> None:
    results_csv(run_folder(tmp_path / "a") / "evaluate_x" / "results.csv", {"p": 30, "q": 20, "r": 10, "perfect": 40})
    results_csv(run_folder(tmp_path / "b") / "results.csv", {"q": 21, "p": 31, "s": 5, "t": 6, "perfect": float("inf")})
    found = compare(read(tmp_path / "a"), read(tmp_path / "b"))[0]
    assert (found.gain, found.low, found.high, found.wins) == (1.0, 1.0, 1.0, 1.0)
    assert (found.images, found.only_first, found.only_second, found.infinite) == (2, 1, 2, 1)


def test_a_smaller_error_is_a_gain(tmp_path: Path) -> None:
    results_csv(run_folder(tmp_path / "a") / "results.csv", {"p": 0.3, "q": 0.2}, column="l1")
    results_csv(run_folder(tmp_path / "b") / "results.csv", {"p": 0.2, "q": 0.3}, column="l1")
    found = compare(read(tmp_path / "a"), read(tmp_path / "b"))[0]
    assert found.gain == pytest.approx(0)
    assert found.wins == 0.5
    assert found.high == pytest.approx(0.1)


def test_one_image_has_no_interval(tmp_path: Path) -> None:
    for count, interval in ((1, ""), (2, "+1.000 to +1.000")):
        for name, score in (("a", 30), ("b", 31)):
            scores: Scores = {f"p{k}": score for k in range(count)}
            results_csv(run_folder(tmp_path / str(count) / name) / "results.csv", scores)
        found = versus([read(tmp_path / str(count) / name) for name in "ab"])
        assert found.rows[0][found.header.index("95 % interval")] == interval
        assert found.rows[0][found.header.index("gain")] == "+1.000"


def test_other_benchmarks_protocols_and_scales_are_not_mixed(tmp_path: Path) -> None:
    results_csv(run_folder(tmp_path / "a") / "results.csv", {"p": 30})
    results_csv(run_folder(tmp_path / "b") / "results.csv", {"p": 31}, benchmark="Set14")
    assert compare(read(tmp_path / "a"), read(tmp_path / "b")) == []


def test_only_settings_that_differ_are_columns(tmp_path: Path) -> None:
    first = read(run_folder(tmp_path / "a", seed=0, logger={"csv": 1}, callbacks={"ema": {"decay": 0.9}, "x": {}}))
    second = read(run_folder(tmp_path / "b", seed=1, logger=None, callbacks={"ema": None, "x": {}}))
    assert differing([first, second]) == ["callbacks.ema.decay", "seed"]
