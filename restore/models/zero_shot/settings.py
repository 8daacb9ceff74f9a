"""What zero-shot's settings may be, and the scale steps that they mean."""

import math
from collections.abc import Mapping
from typing import Any


def scale_factors(scale: float, scale_steps: list[float] | None, *, has_kernel: bool) -> list[float]:
    """The factors of the scale steps; their product is the scale to the last digit.

    Args:
        scale, scale_steps: as of :class:`restore.models.zero_shot.model.ZeroShotSuperResolution`.
        has_kernel: whether sons are made with a kernel, which belongs to one step.

    Raises:
        ValueError: a kernel, and not one step of a whole scale.
    """
    if has_kernel:
        if scale != round(scale) or scale_steps is not None:
            raise ValueError(
                f"model.scale is {scale:g} and model.scale_steps is {scale_steps}, but a kernel belongs to one step of "
                "a whole scale; set a whole scale and leave scale_steps out, or leave kernel out"
            )
        return [scale]
    factors = list(scale_steps) if scale_steps else equal_steps(scale)
    return [*factors[:-1], scale / math.prod(factors[:-1])]


def equal_steps(scale: float) -> list[float]:
    """Factors of about two: 2 -> [2], 3 -> [1.73, 1.73], 4 -> [2, 2], 8 -> [2, 2, 2]."""
    count = max(1, round(math.log2(scale)))
    root = scale ** (1 / count)
    return [float(round(root)) if math.isclose(root, round(root), rel_tol=1e-9) else root] * count


def check_settings(given: Mapping[str, Any]) -> None:
    """Refuse values that cannot be trained with.

    Args:
        given: settings of :class:`restore.models.zero_shot.model.ZeroShotSuperResolution`, by name.

    Raises:
        ValueError: for a value outside its range.
    """
    steps, scale = given["scale_steps"], given["scale"]
    if given["in_channels"] != 3:
        raise ValueError(f"model.in_channels is {given['in_channels']}, expected 3: pictures are read as RGB")
    if not 1 < scale <= 16:
        raise ValueError(f"model.scale is {scale}, expected above 1 and at most 16")
    if steps is not None and (min(steps, default=0) <= 1 or not math.isclose(math.prod(steps), scale, rel_tol=1e-6)):
        raise ValueError(f"model.scale_steps is {steps}, expected factors above 1 with the product scale={scale:g}")
    for name in ("lr", "lr_stop", "lr_decay_ratio"):
        if not 0 < given[name] < float("inf"):
            raise ValueError(f"model.{name} is {given[name]}, expected a number above 0")
    for name, least in {"lr_decay_range": 150, "lr_decay_step": 1}.items():  # 150: three errors to fit a line to
        if given[name] < least:
            raise ValueError(f"model.{name} is {given[name]}, expected at least {least} steps")
    if given["kernel_steps"] < 0:
        raise ValueError(f"model.kernel_steps is {given['kernel_steps']}, expected at least 0")
    if not 0 < given["lr_decay"] < 1 or not 0 <= given["anneal"] <= 1 or (given["back_projection"] or 0) < 0:
        raise ValueError(
            f"model.lr_decay is {given['lr_decay']}, model.anneal is {given['anneal']}, model.back_projection is "
            f"{given['back_projection']}, expected between 0 and 1, 0 to 1, and at least 0"
        )
