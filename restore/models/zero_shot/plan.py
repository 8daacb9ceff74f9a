"""Plans the work within a time limit: training steps, views of the self-ensemble, rounds of back-projection."""

import math
from collections.abc import Callable
from dataclasses import dataclass

UNLIMITED = 1e12  # seconds
MARGIN = 0.1  # fraction of the time reserved for unplanned work
LEAST_STEPS = 100  # per scale step, from random weights; fewer do not clearly beat bicubic
STEPS_FOR = {8: 400, 4: 250, 2: 150, 1: 0}  # views: minimum steps of FULL_CROP pixels; below, more steps gain more
FULL_CROP = 128**2
ROUNDS_SHARE = 0.25  # maximum fraction of the time for back-projection
TRUSTED_STEPS = 5  # steps of a scale step after which the measured speed is trusted
CHECK_EVERY = 50  # steps between measurements of the reconstruction error


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds per pixel, as measured on this machine.

    Attributes:
        forward: of a network, per pixel of the enlarged image. step: of a training step, per pixel of its crops.
        round: of a round of back-projection, per pixel of the enlarged image.
    """

    forward: float
    step: float
    round: float


@dataclass(frozen=True, kw_only=True)
class Work:
    """The remaining work, in pixels.

    Attributes:
        crops: of a training step, for each scale step. check: of one measurement of the reconstruction error.
        view: processed by the networks for one view in all remaining enlargements. enlarged: results of these.
        least_steps: minimum useful number of steps per scale step; 0 from trained weights.
        most_steps: maximum per scale step. most_views: 1 or 8. most_rounds: of back-projection.
    """

    crops: tuple[int, ...]
    check: int
    view: float
    enlarged: float
    least_steps: int
    most_steps: int
    most_views: int
    most_rounds: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The work to do within the time limit.

    Attributes:
        steps: per scale step; 0 if there is no time for any. least: minimum useful number of steps.
        fits: whether there is time for ``least`` steps and one view.
        views, rounds: for each enlargement.
        training, view, back_projection: seconds for all steps, for one view, for all rounds.
        needed: seconds for ``least`` steps and one view.
    """

    steps: int
    least: int
    fits: bool
    views: int
    rounds: int
    training: float
    view: float
    back_projection: float
    needed: float

    @property
    def enlarging(self) -> float:
        """Seconds for all enlargements."""
        return self.views * self.view + self.back_projection


def seconds_of_step(speed: Speed, work: Work, crop: int) -> float:
    """Seconds of a training step on ``crop`` pixels, including its share of error measurements."""
    return crop * speed.step + work.check * speed.forward / CHECK_EVERY


def plan_within(seconds: float, speed: Speed, work: Work) -> Plan:
    """The most work that fits; views are added only once there are enough steps.

    Args:
        seconds: until the deadline.
    """
    usable, least = (1 - MARGIN) * max(0.0, seconds), min(work.least_steps, work.most_steps)
    view, one_round = work.view * speed.forward, work.enlarged * speed.round
    rounds = min(work.most_rounds, int(ROUNDS_SHARE * usable / one_round))
    at_ends = len(work.crops) * work.check * speed.forward  # the error is also measured at the end of each scale step
    one_step = sum(seconds_of_step(speed, work, crop) for crop in work.crops)  # one step of every scale step
    for views in [each for each in STEPS_FOR if each <= work.most_views]:
        steps = math.floor((usable - views * view - rounds * one_round - at_ends) / one_step)
        if steps >= min(STEPS_FOR[views] * FULL_CROP / max(work.crops), work.most_steps):
            break
    fits, steps = steps >= least, max(0, min(work.most_steps, steps))
    return Plan(
        steps=steps,
        least=least,
        fits=fits,
        views=views,
        rounds=rounds,
        training=steps * one_step + at_ends,
        view=view,
        back_projection=rounds * one_round,
        needed=(least * one_step + at_ends + view + work.most_rounds * one_round) / (1 - MARGIN),
    )


class TimeLimit:
    """Keeps a training within its deadline: plans each scale step, and adapts to the measured speed.

    Args:
        deadline: on ``clock``; None for no limit. speed: measured beforehand. clock: returns seconds.

    Attributes:
        plan: for the present scale step and all later ones.
    """

    plan: Plan

    def __init__(self, deadline: float | None, speed: Speed, clock: Callable[[], float]) -> None:
        self.deadline, self._speed, self._clock = deadline or UNLIMITED, speed, clock
        self._began, self._step, self._share, self._pace = 0.0, 1.0, 1.0, 1.0

    def begin(self, work: Work) -> Plan:
        """Plan at the beginning of a scale step.

        Args:
            work: of this scale step and all later ones.
        """
        self._speed = Speed(**{name: self._pace * seconds for name, seconds in vars(self._speed).items()})
        self._began, self._pace = self._clock(), 1.0
        self.plan = plan_within(self.deadline - self._began, self._speed, work)
        self._step = seconds_of_step(self._speed, work, work.crops[0])
        self._share = self._step / sum(seconds_of_step(self._speed, work, crop) for crop in work.crops)
        return self.plan

    def share_left(self, steps: int) -> float:
        """Fraction of this scale step's time left after ``steps`` of its steps; 0 or less when the time is over.

        The present speed is measured on the first steps; time for one view at that speed is reserved.
        """
        elapsed = self._clock() - self._began
        if steps >= TRUSTED_STEPS:
            self._pace = elapsed / steps / self._step
        kept = max(self.plan.enlarging, self._pace * (self.plan.view + self.plan.back_projection))
        allowed = self._share * ((1 - MARGIN) * (self.deadline - self._began) - kept)
        return 1 - elapsed / max(allowed, 1e-3)

    def views_left(self) -> int:
        """Number of views for which the remaining time suffices after training: at most as planned, at least one."""
        left = (1 - MARGIN) * (self.deadline - self._clock()) - self._pace * self.plan.back_projection
        fitting = [each for each in STEPS_FOR if each <= self.plan.views and each * self._pace * self.plan.view <= left]
        return fitting[0] if fitting else 1
