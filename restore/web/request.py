"""The fields of a request, checked and completed into a job for one of the served methods."""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from restore.config.inference import ZeroShotTraining
from restore.web.limits import Limits, Refused

PART_SCALE = 8  # as in the zero-shot article: a random part, enlarged 8 times
MOST_SCALE = 16  # keeps the sides of an enlarged image finite
MOST_NOISE = 0.5  # beyond this, no image is left


class RequestFields(BaseModel):
    """The fields of a request, except the image."""

    model_config = ConfigDict(extra="forbid")

    method: str | None = Field(
        default=None, description="a name of GET /api/methods; left out: the first that can do it"
    )
    mode: Literal["whole", "part"] = Field(
        default="whole",
        description="part: a random part of the image, enlarged eight times, by a method that takes any scale",
    )
    scale: float | None = Field(
        default=None, gt=0, le=MOST_SCALE, allow_inf_nan=False, description="for a method that takes any scale"
    )
    steps: int | None = Field(default=None, ge=1, description="zero_shot: training steps of each scale step, at most")
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="zero_shot: at most so long")
    start: Literal["photos", "scratch"] | None = Field(
        default=None, description="zero_shot: from weights that were trained on photos, or on the image alone"
    )
    kernel: Literal["bicubic", "estimate"] | None = Field(
        default=None, description="zero_shot: how the image was shrunk; estimate takes a whole scale"
    )
    noise: float | None = Field(
        default=None, ge=0, le=MOST_NOISE, description="zero_shot: standard deviation of the image's noise, of 0 to 1"
    )
    degradation: Literal["given", "auto"] | None = Field(
        default=None, description="zero_shot: auto measures blur and noise on the image, in place of kernel and noise"
    )
    seed: int | None = Field(
        default=None, ge=0, lt=2**31, description="of the random part and of zero_shot; the answer repeats it"
    )
    metadata: Literal["strip", "keep"] = Field(
        default="strip",
        description="keep: EXIF, with camera, time and place, XMP and a PNG's texts are kept, as by predict",
    )


@dataclass(frozen=True)
class Job:
    """All that a job's process needs to know: the fields of a request, with defaults filled in.

    Attributes:
        ckpt_path, scale: as for ``open_restorer``. enlarges: output side / input side.
        part_side: side of the random part in pixels, or None for the whole image.
        steps, seconds, start, kernel, noise, degradation: for zero-shot; None means the server's setting. seed: for the
            random part and for zero-shot.
        metadata: as for ``reading.read``. compare: also keep the upload, enlarged to the size of the result.
        max_side, max_output_side: limits in pixels, checked again before the image is decoded.
    """

    method: str
    ckpt_path: str
    scale: float | None
    enlarges: float
    part_side: int | None
    steps: int | None
    seconds: float
    start: str | None
    kernel: str | None
    noise: float | None
    degradation: str | None
    seed: int
    metadata: Literal["strip", "keep"]
    compare: bool
    max_side: int
    max_output_side: int

    def training(self, own: ZeroShotTraining) -> ZeroShotTraining:
        """The server's zero-shot settings, overridden by those of the request."""
        model, data = dict(own.model), dict(own.data)
        if self.kernel is not None:
            model["kernel"] = None if self.kernel == "bicubic" else self.kernel
        if self.noise is not None:
            data["noise"] = self.noise
        return replace(
            own,
            max_seconds=self.seconds,
            max_steps=own.max_steps if self.steps is None else self.steps,
            start=own.start if self.start is None else self.start,
            degradation=own.degradation if self.degradation is None else self.degradation,
            seed=self.seed,
            model=model,
            data=data,
        )


def resolve(
    given: RequestFields, menu: Sequence[Mapping[str, Any]], limits: Limits, seed: int, *, compare: bool
) -> Job:
    """Choose the method, and fill in defaults.

    Args:
        menu: the methods served, as in ``GET /api/methods``. seed: the server's default. compare: see :class:`Job`.

    Raises:
        Refused: no such method, or it does not accept these settings.
    """
    names = [str(entry["name"]) for entry in menu]
    if given.method is not None and given.method not in names:
        raise Refused(422, f"method is {given.method[:60]!r}, expected {', '.join(names)}")
    entry = menu[names.index(given.method)] if given.method else _default(menu, given.mode)
    scale = _scale(given, entry)
    if given.seconds is not None and given.seconds > limits.max_seconds:
        raise Refused(422, f"seconds is {given.seconds:g}, expected at most {limits.max_seconds:g}")
    if given.steps is not None and given.steps > entry.get("max_steps", math.inf):
        raise Refused(422, f"steps is {given.steps}, expected at most {entry['max_steps']}")
    if given.metadata == "keep" and entry["makes_new_image"]:
        reason = f"{entry['name']} makes a new image, which takes over no metadata"
        raise Refused(422, f"metadata is keep, expected strip, because {reason}; leave it out")
    if given.seed is None and given.mode == "part":
        seed = secrets.randbelow(2**31)
    return Job(
        method=str(entry["name"]),
        ckpt_path=str(entry["ckpt_path"]),
        scale=scale,
        enlarges=float(entry["scale"] if scale is None else scale),
        part_side=limits.part_side if given.mode == "part" else None,
        steps=given.steps,
        seconds=given.seconds or limits.max_seconds,
        start=given.start,
        kernel=given.kernel,
        noise=given.noise,
        degradation=given.degradation,
        seed=seed if given.seed is None else given.seed,
        metadata=given.metadata,
        compare=compare,
        max_side=limits.max_side,
        max_output_side=limits.max_output_side,
    )


def _default(menu: Sequence[Mapping[str, Any]], mode: str) -> Mapping[str, Any]:
    """The first method; for a part the first that takes any scale, preferably one that trains on the image."""
    takes_any = [entry for entry in menu if entry["any_scale"]] if mode == "part" else []
    return next((entry for entry in takes_any if "max_steps" in entry), takes_any[0] if takes_any else menu[0])


def _scale(given: RequestFields, entry: Mapping[str, Any]) -> float | None:
    """The argument for ``open_restorer``; None for a checkpoint, which has its own scale."""
    if not entry["any_scale"]:
        if given.mode == "part":
            raise Refused(
                422,
                f"mode is part, which enlarges {PART_SCALE} times, but {entry['name']} enlarges {entry['scale']:g} "
                "times; choose a method that takes any scale, or mode=whole",
            )
        if given.scale not in (None, entry["scale"]):
            raise Refused(
                422, f"scale is {given.scale:g}, but {entry['name']} was trained for {entry['scale']:g}; leave it out"
            )
        return None
    if given.mode == "part":
        if given.scale not in (None, PART_SCALE):
            raise Refused(422, f"scale is {given.scale:g}, but mode=part enlarges {PART_SCALE} times; leave it out")
        return PART_SCALE
    return given.scale or float(entry["scale"])


def refuse_large_output(size: tuple[int, int], job: Job) -> None:
    """Refuse an image of (width, height) whose result would be too large."""
    longest = min(max(size), job.part_side or max(size)) * job.enlarges
    if longest > job.max_output_side:
        raise Refused(
            413,
            f"the restored image would have {math.ceil(longest)} px on its longer side, expected at most "
            f"{job.max_output_side}; take a smaller scale or image",
        )
