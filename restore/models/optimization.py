"""Common to the methods' training settings: bounds, warm-up, and which settings apply when a run resumes."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from restore.io.errors import SettingError
from restore.io.wording import counted

if TYPE_CHECKING:  # bounds are checked before torch is imported
    from lightning.pytorch.utilities.types import OptimizerLRScheduler
    from torch.optim import Optimizer

LRFactor = Callable[[int], float]  # number of the update, from 0 -> factor of the learning rate


def check_adam(*, lr: float, betas: Sequence[float], weight_decay: float = 0.0) -> None:
    """Refuse settings that Adam does not accept.

    Raises:
        SettingError: a value is out of bounds.
    """
    check_positive("lr", lr)
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise SettingError("model.betas", list(betas), "two numbers, at least 0 and below 1")
    check_weight("weight_decay", weight_decay)


def check_positive(name: str, value: float) -> None:
    """Refuse a number that is infinite or not above 0.

    Args:
        name: of the setting, without ``model.``.

    Raises:
        SettingError: ``value`` is out of bounds.
    """
    if not 0 < value < math.inf:
        raise SettingError(f"model.{name}", value, "a number above 0")


def check_weight(name: str, value: float) -> None:
    """Refuse a weight that is below 0, infinite or NaN.

    Args:
        name: of the setting, without ``model.``.

    Raises:
        SettingError: ``value`` is out of bounds.
    """
    if not 0 <= value < math.inf:
        raise SettingError(f"model.{name}", value, "a number, at least 0")


def check_steps(name: str, value: int, *, least: int) -> None:
    """Refuse a number of steps below ``least``.

    Raises:
        SettingError: ``value`` is out of bounds.
    """
    if value < least:
        raise SettingError(f"model.{name}", value, f"at least {counted(least, 'step')}")


def cosine(last: int) -> LRFactor:
    """A factor that falls from 1 to 0 at step ``last``, along a cosine."""
    return lambda step: (1 + math.cos(math.pi * min(step / last, 1))) / 2


def warmed_up(factor: LRFactor, warmup_steps: int) -> LRFactor:
    """``factor``, with a linear rise over the first ``warmup_steps`` updates."""
    return lambda step: min(1.0, (step + 1) / (warmup_steps + 1)) * factor(step)


def scheduled(optimizer: "Optimizer", factor: LRFactor) -> "OptimizerLRScheduler":
    """An optimiser whose learning rate depends only on the step, in the form for ``configure_optimizers``."""
    from torch.optim.lr_scheduler import LambdaLR

    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}


def keep_own_settings(checkpoint: dict[str, Any], factor: LRFactor, *, lr: float, **others: Any) -> None:
    """Put this run's settings into a checkpoint being loaded, which may come from another run.

    Args:
        checkpoint: of a model with one optimiser and one :func:`scheduled` learning rate; changed in place.
        factor: this run's.
        lr, others: settings of the optimiser, by their names in its parameter groups.
    """
    for group in checkpoint["optimizer_states"][0]["param_groups"]:
        group.update(lr=lr * factor(checkpoint["global_step"]), initial_lr=lr, **others)
    checkpoint["lr_schedulers"][0]["base_lrs"] = [lr]
