"""The stages of a training from coarse to fine: which level is trained when, as a function of the step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

LevelName = int | Literal["joint"]


@dataclass(frozen=True)
class Stage:
    """A span of steps in which the same modules are trained.

    Attributes:
        number: from 1.
        level: whose modules and discriminator are trained, 0 being the full resolution; or ``joint`` for all.
        begin, end: it holds the steps from ``begin`` (counted from 0) up to, not with, ``end``.
        lr: factor of the learning rate.
        falls: whether the learning rate falls linearly to zero over the stage.
        levels: of the network, in all.
    """

    number: int
    level: LevelName
    begin: int
    end: int
    lr: float
    falls: bool
    levels: int

    @property
    def top(self) -> int:
        """The highest level that takes part."""
        return 0 if self.level == "joint" else self.level

    @property
    def trained(self) -> list[int]:
        """Levels whose modules, discriminators and outputs are trained."""
        return list(range(self.levels)) if self.level == "joint" else [self.level]

    @property
    def name(self) -> str:
        """For people."""
        return "joint" if self.level == "joint" else f"level {self.level}"

    def lr_factor(self, step: int) -> float:
        """Of the learning rate, for the update number ``step``, counted from 0."""
        return self.lr * (1 - (step - self.begin) / (self.end - self.begin)) if self.falls else self.lr


def make_stages(
    stages: Sequence[Mapping[str, Any]] | None, *, levels: int, max_steps: int | None = None
) -> list[Stage]:
    """The stages meant by ``model.stages``.

    Args:
        stages: ``{level, share}`` each, with ``level`` from the lowest, levels - 1, to 0, then ``joint``; ``share`` of
            the steps, summing to 1; on request ``lr``, the factor of the learning rate: by default 1, and one half for
            a joint stage behind others. None: all of these with equal shares. Empty, or joint alone: all at once.
        levels: of the network.
        max_steps: of the run; None only checks the rest.

    Raises:
        ValueError: other levels, shares that do not sum to 1, or fewer than one step for a stage.
    """
    if stages is None:
        names: list[LevelName] = [*reversed(range(levels)), "joint"]
        stages = [{"level": name, "share": 1 / (levels + 1)} for name in names]
    stages = stages or [{"level": "joint", "share": 1.0}]
    _check(stages, levels)
    total = max_steps or 10**9
    whole = sum(each["share"] for each in stages)  # nearly 1: thirds are written as 0.333
    ends = [round(sum(each["share"] for each in stages[: k + 1]) / whole * total) for k in range(len(stages))]
    found = []
    for k, each in enumerate(stages):
        is_joint, begin = each["level"] == "joint", ends[k - 1] if k else 0
        lr = float(each.get("lr", 0.5 if is_joint and k else 1.0))
        if ends[k] <= begin:
            raise ValueError(
                f"trainer.max_steps is {max_steps}, which leaves no step for stage {k + 1} of model.stages "
                f"(level {each['level']}, share {each['share']:g}); set more steps, or fewer stages"
            )
        found.append(Stage(k + 1, each["level"], begin, ends[k], lr, is_joint, levels))
    return found


def stage_at(stages: Sequence[Stage], step: int) -> Stage:
    """The stage of the update number ``step``, counted from 0; behind the end it is the last."""
    return next((stage for stage in stages if step < stage.end), stages[-1])


def _check(stages: Sequence[Mapping[str, Any]], levels: int) -> None:
    example = "[{level: 1, share: 0.4}, {level: 0, share: 0.3}, {level: joint, share: 0.3}] with model.levels=2"
    for each in stages:
        if not isinstance(each, Mapping) or not {"level", "share"} <= each.keys() <= {"level", "share", "lr"}:
            raise ValueError(f"model.stages holds {each}, expected level, share and, if wanted, lr: {example}")
        for key in each.keys() - {"level"}:
            if isinstance(each[key], bool) or not isinstance(each[key], int | float) or not 0 < each[key] < math.inf:
                raise ValueError(f"model.stages: {key} is {each[key]}, expected a number above 0: {example}")
    order, one_by_one = [each["level"] for each in stages], list(reversed(range(levels)))
    if order not in (["joint"], one_by_one, [*one_by_one, "joint"]):
        raise ValueError(
            f"model.stages goes through the levels {order}, expected {[*one_by_one, 'joint']} (model.levels is "
            f"{levels}; joint may be left out), or ['joint'] alone; set model.stages=null for equal shares"
        )
    share = sum(each["share"] for each in stages)
    if not math.isclose(share, 1, abs_tol=1e-3):
        raise ValueError(f"model.stages: the shares sum to {share:g}, expected 1: {example}")
