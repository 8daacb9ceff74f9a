from itertools import pairwise
from typing import Any

import pytest

from restore.io.errors import SettingError
from restore.models.translation.plan import plan_table
from restore.models.translation.stages import make_stages, stage_at


def test_stages_are_a_function_of_the_step() -> None:
    given: list[dict[str, Any]] = [
        {"level": 2, "share": 0.25},
        {"level": 1, "share": 0.25},
        {"level": 0, "share": 0.3},
        {"level": "joint", "share": 0.2},
    ]
    stages = make_stages(given, levels=3, max_steps=100)
    assert [(each.begin, each.end) for each in stages] == [(0, 25), (25, 50), (50, 80), (80, 100)]
    assert [stage_at(stages, step).number for step in (0, 24, 25, 49, 50, 79, 80, 99, 100)] == [
        1,
        1,
        2,
        2,
        3,
        3,
        4,
        4,
        4,
    ]
    assert [each.trained for each in stages] == [[2], [1], [0], [0, 1, 2]]
    assert [each.top for each in stages] == [2, 1, 0, 0]


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("max_steps", [7, 100, 1001])
def test_every_step_belongs_to_one_stage(levels: int, max_steps: int) -> None:
    stages = make_stages(None, levels=levels, max_steps=max_steps)
    assert [each.level for each in stages] == [*reversed(range(levels)), "joint"]
    assert stages[0].begin == 0
    assert stages[-1].end == max_steps
    assert all(one.end == other.begin for one, other in pairwise(stages))
    assert all(stage.begin <= step < stage.end for step in range(max_steps) for stage in [stage_at(stages, step)])


def test_the_joint_stage_has_half_the_rate_and_falls_to_zero() -> None:
    stages = make_stages([{"level": 0, "share": 0.5}, {"level": "joint", "share": 0.5}], levels=1, max_steps=8)
    assert [stage_at(stages, step).lr_factor(step) for step in range(8)] == [1, 1, 1, 1, 0.5, 0.375, 0.25, 0.125]


@pytest.mark.parametrize("given", [[], [{"level": "joint", "share": 1.0}]])
def test_everything_at_once_has_the_whole_rate(given: list[dict[str, Any]]) -> None:
    (stage,) = make_stages(given, levels=3, max_steps=10)
    assert (stage.begin, stage.end, stage.trained, stage.lr_factor(0)) == (0, 10, [0, 1, 2], 1.0)


def test_a_stage_may_have_its_own_rate() -> None:
    (stage,) = make_stages([{"level": "joint", "share": 1, "lr": 0.1}], levels=2, max_steps=10)
    assert stage.lr_factor(5) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ([{"level": 0, "share": 0.5}, {"level": 1, "share": 0.5}], "[0, 1]"),
        ([{"level": 0, "share": 1.0}], "[0]"),
        ([{"level": 1, "share": 0.5}, {"level": 0, "share": 0.4}], "0.9"),
        ([{"level": 1, "share": 1.5}, {"level": 0, "share": -0.5}], "-0.5"),
        ([{"level": "joint", "share": "all"}], "all"),
        ([{"level": "joint"}], "joint"),
        ([{"level": "joint", "share": 1.0, "steps": 3}], "steps"),
    ],
)
def test_other_lists_are_refused_with_what_is_wrong(given: list[dict[str, Any]], part: str) -> None:
    with pytest.raises(SettingError) as error:
        make_stages(given, levels=2)
    assert error.value.key == "model.stages"
    assert part in str(error.value.got)


def test_a_run_too_short_for_its_stages_is_refused() -> None:
    with pytest.raises(SettingError) as error:
        make_stages(None, levels=2, max_steps=2)
    assert (error.value.key, error.value.got) == ("trainer.max_steps", 2)
    assert "stage 2 of model.stages" in error.value.expected


def test_the_plan_says_what_is_trained_when() -> None:
    stages = make_stages(None, levels=2, max_steps=30)
    counts = [(1_500_000, 2000), (10_000, 3000), (1_510_000, 5000)]
    table = plan_table(stages, side=64, lr=2e-4, parameters=counts, seconds_per_step=[1, 2, 3])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:5]]
    assert rows == [
        ["1", "level 1", "1 to 10", "32", "0.0002", "1.500 M (+ 0.002 M)", "10 s"],
        ["2", "level 0", "11 to 20", "64, 32", "0.0002", "0.010 M (+ 0.003 M)", "20 s"],
        ["3", "joint", "21 to 30", "64, 32", "0.0001, falling to 0", "1.510 M (+ 0.005 M)", "30 s"],
    ]
    assert "About 60 s in all" in table


@pytest.mark.parametrize("share", [0.333, 0.3335])
def test_shares_that_are_nearly_one_end_with_the_run(share: float) -> None:
    given: list[dict[str, Any]] = [
        {"level": 1, "share": share},
        {"level": 0, "share": share},
        {"level": "joint", "share": share},
    ]
    stages = make_stages(given, levels=2, max_steps=6000)
    assert [stage.end for stage in stages] == [2000, 4000, 6000]
    assert 0 < stages[-1].lr_factor(5999) < 1e-3
