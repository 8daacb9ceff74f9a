"""Valid settings of zero-shot super-resolution, and its scale steps."""

import inspect
import math
from dataclasses import dataclass
from typing import Any

from restore.io.errors import SettingError
from restore.models import optimization
from restore.models.zero_shot.lr_policy import LRPolicy
from restore.networks.zssr import ZSSRNetwork


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(LRPolicy):
    """Training settings: the model's arguments that :class:`ZeroShotNetwork` does not take.

    Attributes:
        kernel_steps: updates of KernelGAN's generator for ``kernel=estimate``; 0 keeps the Gaussian fitted to the
            image's spectrum.

    Raises:
        SettingError: a value is out of bounds.
    """

    kernel_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        optimization.check_steps("kernel_steps", self.kernel_steps, least=0)


def scale_factors(scale: float, scale_steps: list[float] | None, *, has_kernel: bool) -> list[float]:
    """The factors of the scale steps; their product is exactly the scale.

    Args:
        scale, scale_steps: see :class:`restore.models.zero_shot.network.ZeroShotNetwork`.
        has_kernel: whether sons are made with a kernel, which allows only one scale step.

    Raises:
        SettingError: with a kernel, more than one step or a scale that is not an integer.
    """
    if has_kernel:
        if scale != round(scale) or scale_steps is not None:
            raise SettingError(
                "model.scale",
                f"{scale:g} and model.scale_steps is {scale_steps}",
                "one step of a whole scale, which is what a kernel belongs to",
                "set a whole scale and leave scale_steps out, or leave kernel out",
            )
        return [scale]
    factors = list(scale_steps) if scale_steps else equal_steps(scale)
    return [*factors[:-1], scale / math.prod(factors[:-1])]


def equal_steps(scale: float) -> list[float]:
    """Equal factors of about two: 2 -> [2], 3 -> [1.73, 1.73], 4 -> [2, 2], 8 -> [2, 2, 2]."""
    count = max(1, round(math.log2(scale)))
    root = scale ** (1 / count)
    return [float(round(root)) if math.isclose(root, round(root), rel_tol=1e-9) else root] * count


def check_other_network(scale_steps: list[float] | None, **settings: int) -> None:
    """Refuse settings of the published network for a training of the network of ``super_resolution``.

    Args:
        scale_steps: see :class:`restore.models.zero_shot.network.ZeroShotNetwork`.
        settings: arguments of :class:`restore.networks.zssr.ZSSRNetwork`.

    Raises:
        SettingError: one of them is not the default.
    """
    names = {"channels": "in_channels"}
    defaults = inspect.signature(ZSSRNetwork).parameters
    changed: dict[str, Any] = {
        names.get(key, key): value for key, value in settings.items() if value != defaults[key].default
    }
    if scale_steps is not None:
        changed["scale_steps"] = scale_steps
    for key, value in changed.items():
        expected = "the default, because it is a setting of the published network, and information_gain is another one"
        raise SettingError(f"model.{key}", value, expected, "leave it out, or leave information_gain out")


def check_network(scale: float, steps: list[float] | None, in_channels: int, back_projection: int | None) -> None:
    """Refuse values for which no network can be built.

    Args:
        scale, steps, in_channels, back_projection: see :class:`restore.models.zero_shot.network.ZeroShotNetwork`.

    Raises:
        SettingError: a value is out of range.
    """
    if in_channels not in (1, 3):
        raise SettingError("model.in_channels", in_channels, "3, or 1 for one channel at a time")
    if not 1 < scale <= 16:
        raise SettingError("model.scale", scale, "above 1 and at most 16")
    if steps is not None and (min(steps, default=0) <= 1 or not math.isclose(math.prod(steps), scale, rel_tol=1e-6)):
        raise SettingError("model.scale_steps", steps, f"factors above 1 with the product scale={scale:g}")
    if back_projection is not None and back_projection < 0:
        raise SettingError("model.back_projection", back_projection, "at least 0")
