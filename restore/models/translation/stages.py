"""The stages of a coarse-to-fine training: which levels are trained, as a function of the step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from restore.io.errors import SettingError

LevelName = int | Literal["joint"]


@dataclass(frozen=True)
class Stage:
    """A range of steps in which the same modules are trained.

    Attributes:
        number: from 1.
        level: the level whose modules and discriminator are trained, 0 being full resolution; or ``joint`` for all.
        begin, end: the stage comprises the steps ``begin`` <= step < ``end``, counted from 0.
        lr: factor of the learning rate.
        falls: whether the learning rate falls linearly to zero over the stage.
        levels: total number of levels of the network.
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
        """The highest level in use."""
        return 0 if self.level == "joint" else self.level

    @property
    def trained(self) -> list[int]:
        """Levels whose modules and discriminators are trained, and whose outputs are scored."""
        return list(range(self.levels)) if self.level == "joint" else [self.level]

    @property
    def name(self) -> str:
        """Name in logs and tables."""
        return "joint" if self.level == "joint" else f"level {self.level}"

    @property
    def file_name(self) -> str:
        """Name in file names, for example ``stage_1_level_2``."""
        return f"stage_{self.number}_{self.name.replace(' ', '_')}"

    def lr_factor(self, step: int) -> float:
        """Factor of the learning rate for update ``step``, counted from 0."""
        return self.lr * (1 - (step - self.begin) / (self.end - self.begin)) if self.falls else self.lr


def make_stages(
    stages: Sequence[Mapping[str, Any]] | None, *, levels: int, max_steps: int | None = None
) -> list[Stage]:
    """The stages described by ``model.stages``.

    Args:
        stages: each ``{level, share}``, with ``level`` from the lowest resolution, levels - 1, to 0, then ``joint``;
            the shares of the steps sum to 1; optionally ``lr``, the factor of the learning rate: by default 1, and 0.5
            for a joint stage after others. None: all of these with equal shares. Empty, or only joint: all levels from
            the start.
        levels: number of levels of the network.
        max_steps: of the run; None checks only the other values.

    Raises:
        SettingError: other levels, shares that do not sum to 1, or a stage with fewer than one step.
    """
    if stages is None:
        names: list[LevelName] = [*reversed(range(levels)), "joint"]
        stages = [{"level": name, "share": 1 / (levels + 1)} for name in names]
    stages = stages or [{"level": "joint", "share": 1.0}]
    _check(stages, levels)
    total = max_steps or 10**9
    whole = sum(each["share"] for each in stages)  # nearly 1, since thirds may be written as 0.333
    ends = [round(sum(each["share"] for each in stages[: k + 1]) / whole * total) for k in range(len(stages))]
    found = []
    for k, each in enumerate(stages):
        is_joint, begin = each["level"] == "joint", ends[k - 1] if k else 0
        lr = float(each.get("lr", 0.5 if is_joint and k else 1.0))
        if ends[k] <= begin:
            stage = f"stage {k + 1} of model.stages (level {each['level']}, share {each['share']:g})"
            raise SettingError(
                "trainer.max_steps", max_steps, f"at least one step for {stage}", "set more steps, or fewer stages"
            )
        found.append(Stage(k + 1, each["level"], begin, ends[k], lr, is_joint, levels))
    return found


def stage_at(stages: Sequence[Stage], step: int) -> Stage:
    """The stage of update ``step``, counted from 0; after the end, the last stage."""
    return next((stage for stage in stages if step < stage.end), stages[-1])


def with_equal_shares(stages: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """``model.stages`` with equally many steps in each stage."""
    if not stages:  # None already means equal shares, and an empty list means a single stage
        return None if stages is None else []
    return [{**each, "share": 1 / len(stages)} for each in stages]


def _check(stages: Sequence[Mapping[str, Any]], levels: int) -> None:
    example = "[{level: 1, share: 0.4}, {level: 0, share: 0.3}, {level: joint, share: 0.3}] with model.levels=2"
    for each in stages:
        if not isinstance(each, Mapping) or not {"level", "share"} <= each.keys() <= {"level", "share", "lr"}:
            expected = f"level, share and, if wanted, lr in each stage, for example {example}"
            raise SettingError("model.stages", list(stages), expected)
        for key in each.keys() - {"level"}:
            if isinstance(each[key], bool) or not isinstance(each[key], int | float) or not 0 < each[key] < math.inf:
                got = f"a list with the {key} {each[key]}"
                raise SettingError("model.stages", got, f"numbers above 0 for share and lr, for example {example}")
    order, one_by_one = [each["level"] for each in stages], list(reversed(range(levels)))
    if order not in (["joint"], one_by_one, [*one_by_one, "joint"]):
        raise SettingError(
            "model.stages",
            f"a list of the levels {order}",
            f"{[*one_by_one, 'joint']}, because model.levels is {levels} (joint may be left out), or ['joint'] alone",
            "set model.stages=null for equal shares",
        )
    share = sum(each["share"] for each in stages)
    if not math.isclose(share, 1, abs_tol=1e-3):
        raise SettingError("model.stages", f"a list of shares with the sum {share:g}", f"the sum 1, as in {example}")
