"""Plans under a time limit, with speeds and a clock of the test's own."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore.models.zero_shot import plan as plans
from restore.models.zero_shot.plan import Plan, Speed, TimeLimit, Work, plan_within

PHOTO = Work(
    crops=(128**2,),
    check=400 * 350,
    view=4e5 * 1.4,
    enlarged=5.6e5,
    least_steps=50,
    most_steps=1500,
    most_views=8,
    most_rounds=8,
)
PART = Work(  # 96 px, eight times
    crops=(96**2, 128**2, 128**2),
    check=96**2,
    view=1e6,
    enlarged=1e6,
    least_steps=50,
    most_steps=1500,
    most_views=8,
    most_rounds=8,
)


def speed(seconds_of_a_step: float) -> Speed:
    """Of a machine that takes so long for a step on 128 x 128 pixels."""
    a_pixel = seconds_of_a_step / 128**2
    return Speed(step=a_pixel, forward=a_pixel / 3, round=a_pixel / 30)


speeds = st.builds(Speed, forward=st.floats(1e-9, 1e-3), step=st.floats(1e-9, 1e-3), round=st.floats(1e-9, 1e-4))
works = st.builds(
    Work,
    crops=st.lists(st.integers(1, 256**2), min_size=1, max_size=4).map(tuple),
    check=st.integers(9, 512**2),
    view=st.floats(9, 1e8),
    enlarged=st.floats(9, 1e8),
    least_steps=st.sampled_from([0, 50]),
    most_steps=st.integers(1, 3000),
    most_views=st.sampled_from([1, 8]),
    most_rounds=st.integers(0, 10),
)


@settings(deadline=None)
@given(seconds=st.floats(0.01, 1e4), at=speeds, work=works)
def test_at_any_speed_a_plan_that_trains_ends_within_the_time(seconds: float, at: Speed, work: Work) -> None:
    plan = plan_within(seconds, at, work)
    assert 0 <= plan.steps <= work.most_steps
    assert plan.views in plans.STEPS_FOR
    assert plan.views <= work.most_views
    assert plan.rounds <= work.most_rounds
    assert plan.back_projection <= plans.ROUNDS_SHARE * seconds
    if plan.fits:
        assert plan.training + plan.enlarging <= (1 - plans.MARGIN) * seconds * (1 + 1e-9)


@settings(deadline=None)
@given(at=speeds, work=works)
def test_the_time_that_is_said_to_be_needed_is_enough_and_a_tenth_less_is_not(at: Speed, work: Work) -> None:
    needed = plan_within(0.0, at, work).needed
    assert plan_within(needed * (1 + 1e-6), at, work).fits
    # fewer rounds of back-projection may make up for a little
    assert not plan_within(needed / 2, at, work).fits or work.enlarged * at.round * work.most_rounds > needed / 4


@pytest.mark.parametrize("work", [PHOTO, PART])
def test_more_time_means_no_less_of_anything(work: Work) -> None:
    made = [plan_within(seconds, speed(0.25), work) for seconds in range(5, 4000, 5)]
    for earlier, later in pairwise(made):
        assert later.views >= earlier.views
        assert later.steps >= earlier.steps or later.views > earlier.views
    assert not made[0].fits
    assert (made[-1].steps, made[-1].views, made[-1].rounds) == (1500, 8, 8)


def run(limit: TimeLimit, clock: list[float], plan: Plan, seconds_of_a_step: float) -> int:
    """Steps until the plan or its time is over, on a machine that takes so long for each."""
    steps = 0
    while steps < plan.steps and limit.share_left(steps) > 0:
        clock[0] += seconds_of_a_step
        steps += 1
    return steps


@pytest.mark.parametrize("work", [PHOTO, PART])
@pytest.mark.parametrize("slowdown", [0.5, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("at_first", [0.05, 0.1])
def test_a_machine_that_becomes_slower_still_ends_within_the_time(at_first: float, slowdown: float, work: Work) -> None:
    clock, deadline, now = [7.0], 67.0, slowdown * at_first
    limit = TimeLimit(deadline, speed(at_first), lambda: clock[0])
    remaining = list(work.crops)
    while remaining:
        rest = Work(**{**vars(work), "crops": tuple(remaining)})
        plan = limit.begin(rest)
        crop = remaining.pop(0)
        steps = run(limit, clock, plan, plans.seconds_of_step(speed(now), rest, crop))
        assert steps >= 20
    views = limit.views_left()
    clock[0] += views * work.view * speed(now).forward + limit.plan.rounds * work.enlarged * speed(now).round
    assert clock[0] <= deadline
