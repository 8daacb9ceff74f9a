"""Settings of a restoration: how a network is run, and how zero-shot super-resolution trains."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How a network is run.

    Attributes:
        weights: ``ema`` (where there is one) or ``raw``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``32`` or ``bf16``.
        tile: ``auto`` (the largest that fits ``memory_gb``; the whole image when it does), ``none``, or lq pixels.
        tile_overlap: lq pixels around a tile, blended with the neighbours, for a network whose output depends on
            the whole image; one with a finite receptive radius gets exactly that instead.
        memory_gb: budget in GiB.
        pool_window: lq pixels; a network that takes means over the whole image takes them over so many pixels around
            each position instead, best over the side of its training crops. None: the whole image.
        self_ensemble: ``true`` averages over 8 flips and turns, ``false`` does not; ``auto`` is the method's habit,
            which is to do so for zero-shot alone.
    """

    weights: Literal["ema", "raw"] = "ema"
    device: str = "auto"
    precision: str = "32"
    tile: str | int = "auto"
    tile_overlap: int = 32
    memory_gb: float = 4.0
    pool_window: int | None = None
    self_ensemble: bool | str = "auto"

    def __post_init__(self) -> None:
        choices = {
            "device": ("auto", "cpu", "cuda", "mps"),
            "precision": ("32", "bf16"),
            "self_ensemble": ("auto", "true", "false"),
            "weights": ("ema", "raw"),
        }
        for name, known in choices.items():
            value = getattr(self, name)
            # a boolean arrives as such from Python, and as "True" from YAML
            if (str(value).lower() if name == "self_ensemble" else value) not in known:
                raise ValueError(f"{name} is {value}, expected {', '.join(known)}")
        if self.tile not in ("auto", "none") and (not str(self.tile).isdigit() or int(self.tile) < 1):
            raise ValueError(f"tile is {self.tile}, expected auto, none or a side in lq pixels")
        if self.tile_overlap < 0 or not self.memory_gb > 0:
            raise ValueError(
                f"tile_overlap is {self.tile_overlap} and memory_gb is {self.memory_gb}, "
                "expected at least 0 and above 0"
            )

    @classmethod
    def names(cls) -> list[str]:
        """Names of the settings."""
        return [field.name for field in fields(cls)]

    def ensemble(self, *, default: bool) -> bool:
        """Whether to average over flips and turns; ``default`` is the method's habit."""
        return default if self.self_ensemble == "auto" else str(self.self_ensemble).lower() == "true"


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """How zero-shot super-resolution trains on a picture.

    Attributes:
        max_steps: optimiser steps of each scale step, at most.
        max_seconds: for training and enlarging one picture; None for no limit.
        seed: of initial weights and crops.
        model: arguments of :class:`restore.models.zero_shot.model.ZeroShotSuperResolution`, without ``scale``.
        data: arguments of :class:`restore.data.single_image.SingleImageData`, without ``image``, ``scale``, ``seed``.
    """

    max_steps: int = 1500
    max_seconds: float | None = None
    seed: int = 0
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_steps < 1 or self.seed < 0:
            raise ValueError(
                f"zero_shot.max_steps is {self.max_steps} and seed is {self.seed}, expected at least 1 and at least 0"
            )
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"max_seconds is {self.max_seconds}, expected a number above 0, or null")
