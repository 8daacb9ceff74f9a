"""What a visitor wants done with a picture, and which of the served methods does it."""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from restore.web.limits import Limits, Refused

PART_SCALE = 8  # the article's: a random part, enlarged eight times
MOST_SCALE = 16  # so that sides, which are multiplied by it, stay numbers


class Order(BaseModel):
    """The fields of a request, beside the picture."""

    model_config = ConfigDict(extra="forbid")

    method: str | None = Field(default=None, description="a name of GET /api/methods; left out: the first one")
    mode: Literal["whole", "part"] = Field(
        default="whole",
        description="part: a random part of the picture, enlarged eight times, by a method that takes any scale",
    )
    scale: float | None = Field(
        default=None, gt=0, le=MOST_SCALE, allow_inf_nan=False, description="for a method that takes any scale"
    )
    steps: int | None = Field(default=None, ge=1, description="zero_shot: training steps of each scale step, at most")
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="zero_shot: at most so long")
    seed: int | None = Field(
        default=None, ge=0, lt=2**31, description="of the random part and of zero_shot; the answer has it"
    )
    metadata: Literal["strip", "keep"] = Field(
        default="strip",
        description="keep: EXIF, with camera, time and place, XMP and a PNG's texts go along, as of predict",
    )


@dataclass(frozen=True)
class Job:
    """An order, settled: what a job's process needs to know.

    Attributes:
        ckpt_path, scale: as of ``open_restorer``. enlarges: output side / input side.
        part_side: of the random part in px, or None for the whole picture.
        steps, seconds: of zero-shot; None for the server's own. seed: of the part and of zero-shot.
        metadata: as of ``reading.read``. compare: whether the upload, enlarged to the result's size, is wanted as well.
        max_side, max_output_side: limits in px, looked at once more before the picture is decoded.
    """

    method: str
    ckpt_path: str
    scale: float | None
    enlarges: float
    part_side: int | None
    steps: int | None
    seconds: float
    seed: int
    metadata: Literal["strip", "keep"]
    compare: bool
    max_side: int
    max_output_side: int


def settle(order: Order, menu: Sequence[Mapping[str, Any]], limits: Limits, seed: int, *, compare: bool) -> Job:
    """Choose the method and fill in what was left out.

    Args:
        menu: what is served, as ``GET /api/methods`` gives it. seed: the server's own. compare: see :class:`Job`.

    Raises:
        Refused: no such method, or not with these settings.
    """
    names = [str(entry["name"]) for entry in menu]
    if order.method is not None and order.method not in names:
        raise Refused(422, f"method is {order.method[:60]!r}, expected {', '.join(names)}")
    entry = menu[names.index(order.method) if order.method else 0]
    scale = _scale(order, entry)
    if order.seconds is not None and order.seconds > limits.max_seconds:
        raise Refused(422, f"seconds is {order.seconds:g}, expected at most {limits.max_seconds:g}")
    if order.steps is not None and order.steps > entry.get("max_steps", math.inf):
        raise Refused(422, f"steps is {order.steps}, expected at most {entry['max_steps']}")
    if order.seed is None and order.mode == "part":
        seed = secrets.randbelow(2**31)
    return Job(
        method=str(entry["name"]),
        ckpt_path=str(entry["ckpt_path"]),
        scale=scale,
        enlarges=float(entry["scale"] if scale is None else scale),
        part_side=limits.part_side if order.mode == "part" else None,
        steps=order.steps,
        seconds=order.seconds or limits.max_seconds,
        seed=seed if order.seed is None else order.seed,
        metadata=order.metadata,
        compare=compare,
        max_side=limits.max_side,
        max_output_side=limits.max_output_side,
    )


def _scale(order: Order, entry: Mapping[str, Any]) -> float | None:
    """As of ``open_restorer``: None leaves a checkpoint its own."""
    if not entry["any_scale"]:
        if order.mode == "part":
            raise Refused(
                422,
                f"mode is part, which enlarges {PART_SCALE} times, but {entry['name']} enlarges {entry['scale']:g} "
                "times; choose a method that takes any scale, or mode=whole",
            )
        if order.scale not in (None, entry["scale"]):
            raise Refused(
                422, f"scale is {order.scale:g}, but {entry['name']} was trained for {entry['scale']:g}; leave it out"
            )
        return None
    if order.mode == "part":
        if order.scale not in (None, PART_SCALE):
            raise Refused(422, f"scale is {order.scale:g}, but mode=part enlarges {PART_SCALE} times; leave it out")
        return PART_SCALE
    return order.scale or float(entry["scale"])


def refuse_large_output(size: tuple[int, int], job: Job) -> None:
    """Refuse a picture of (width, height) that would become too large."""
    longest = min(max(size), job.part_side or max(size)) * job.enlarges
    if longest > job.max_output_side:
        raise Refused(
            413,
            f"the restored picture would have {math.ceil(longest)} px on its longer side, expected at most "
            f"{job.max_output_side}; take a smaller scale or picture",
        )
