"""What fits into a time limit: training steps, views of the self-ensemble, rounds of back-projection."""

import math
from collections.abc import Callable
from dataclasses import dataclass

UNLIMITED = 1e12  # seconds
MARGIN = 0.1  # share of the time that is left for what is not reckoned
LEAST_STEPS = 50  # of each scale step from random weights; with fewer, training does not clearly beat bicubic
STEPS_FOR = {8: 400, 4: 250, 2: 150, 1: 0}  # so many views only with so many steps: up to there, steps gain more
ROUNDS_SHARE = 0.25  # of the time, for back-projection at most
TRUSTED_STEPS = 5  # of a scale step, before they say how fast the machine is
CHECK_EVERY = 50  # steps between two measurements of the reconstruction error


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds per pixel, as measured on this machine.

    Attributes:
        forward: of a network, for a pixel of the enlarged image. step: of a training step, for a pixel of its crops.
        round: of a round of back-projection, for a pixel of the enlarged image.
    """

    forward: float
    step: float
    round: float


@dataclass(frozen=True, kw_only=True)
class Work:
    """The work left, in pixels.

    Attributes:
        crops: of a training step of each scale step. check: of one measurement of the reconstruction error.
        view: of the network's answers in all enlargements to come, for one view. enlarged: of these enlargements.
        least_steps: of each scale step, below which it is not worth while; 0 from trained weights.
        most_steps: of each scale step. most_views, most_rounds: 1 or 8; of back-projection.
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
    """What is done within the time.

    Attributes:
        steps: of each scale step; 0 where there is time for none. least: steps below which it is not worth while.
        fits: whether the time is enough for ``least`` steps and one view.
        views, rounds: of each enlargement.
        training, view, back_projection: seconds of all steps, of one view, of all rounds.
        needed: seconds in which ``least`` steps and one view fit.
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
        """Seconds of all enlargements."""
        return self.views * self.view + self.back_projection


def seconds_of_step(speed: Speed, work: Work, crop: int) -> float:
    """Of a training step on ``crop`` pixels, with its share of the measurements of the error."""
    return crop * speed.step + work.check * speed.forward / CHECK_EVERY


def plan_within(seconds: float, speed: Speed, work: Work) -> Plan:
    """The most that fits: more views only where the steps are many already.

    Args:
        seconds: from now to the deadline.
    """
    usable, least = (1 - MARGIN) * max(0.0, seconds), min(work.least_steps, work.most_steps)
    view, one_round = work.view * speed.forward, work.enlarged * speed.round
    rounds = min(work.most_rounds, int(ROUNDS_SHARE * usable / one_round))
    at_ends = len(work.crops) * work.check * speed.forward  # the error is measured at the end of each scale step, too
    one_step = sum(seconds_of_step(speed, work, crop) for crop in work.crops)  # of each scale step
    for views in [each for each in STEPS_FOR if each <= work.most_views]:
        steps = math.floor((usable - views * view - rounds * one_round - at_ends) / one_step)
        if steps >= min(STEPS_FOR[views], work.most_steps):
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
    """Holds a training to its deadline: plans each scale step, and follows the speed that the machine then has.

    Args:
        deadline: on the clock; None for no limit. speed: as measured just now. clock: in seconds.

    Attributes:
        plan: of the present scale step and all later ones.
    """

    plan: Plan

    def __init__(self, deadline: float | None, speed: Speed, clock: Callable[[], float]) -> None:
        self.deadline, self._speed, self._clock = deadline or UNLIMITED, speed, clock
        self._began, self._step, self._share, self._pace = 0.0, 1.0, 1.0, 1.0

    def begin(self, work: Work) -> Plan:
        """Plan, at the beginning of a scale step.

        Args:
            work: of this scale step and of all later ones.
        """
        self._speed = Speed(**{name: self._pace * seconds for name, seconds in vars(self._speed).items()})
        self._began, self._pace = self._clock(), 1.0
        self.plan = plan_within(self.deadline - self._began, self._speed, work)
        self._step = seconds_of_step(self._speed, work, work.crops[0])
        self._share = self._step / sum(seconds_of_step(self._speed, work, crop) for crop in work.crops)
        return self.plan

    def share_left(self, steps: int) -> float:
        """Share of this scale step's time that is left after so many of its steps; 0 or less when it is over.

        The first steps say how fast the machine is now; time for one view is kept at that speed.
        """
        elapsed = self._clock() - self._began
        if steps >= TRUSTED_STEPS:
            self._pace = elapsed / steps / self._step
        kept = max(self.plan.enlarging, self._pace * (self.plan.view + self.plan.back_projection))
        allowed = self._share * ((1 - MARGIN) * (self.deadline - self._began) - kept)
        return 1 - elapsed / max(allowed, 1e-3)

    def views_left(self) -> int:
        """Views that the time left holds once the training is over: at most those planned, at least one."""
        left = (1 - MARGIN) * (self.deadline - self._clock()) - self._pace * self.plan.back_projection
        fitting = [each for each in STEPS_FOR if each <= self.plan.views and each * self._pace * self.plan.view <= left]
        return fitting[0] if fitting else 1
