"""Settings of inference: how a network runs, how zero-shot super-resolution trains, and both from a configuration.

The dataclasses are also the schemas of the commands (:mod:`restore.config.schemas`), so each setting and its default is
defined only here. Imports neither Hydra nor torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from restore.io.errors import SettingError

if TYPE_CHECKING:
    from omegaconf import DictConfig

SCRATCH = "scratch"  # ``start`` of the published zero-shot method: random weights
SCRATCH_STEPS = 4000  # per scale step, of one crop of 48 px (experiments/zero_shot, section 2)
STARTED_STEPS = 100  # per scale step, from trained weights
MOST_THREADS = 1024  # torch crashes if the system refuses more

_CHOICES = {
    "weights": ("ema", "raw"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("32", "bf16", "auto"),
    "self_ensemble": ("auto", "true", "false"),
}


@dataclass(kw_only=True)  # not frozen, because OmegaConf would make the settings read-only
class Inference:
    """How a network runs.

    Attributes:
        weights: ``ema`` (used if stored) or ``raw``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``32``, ``bf16``, or ``auto``: bfloat16 if it is faster, which is measured on a CPU.
        tile: ``auto`` (the largest that fits ``memory_gb``, or the whole image if it fits), ``none``, or lq pixels.
        tile_overlap: lq pixels around a tile, blended with its neighbours, for a network whose output depends on the
            whole image; other networks use exactly their receptive radius instead.
        memory_gb: memory budget of ``tile=auto``, in GiB.
        pool_window: lq pixels; a network that averages over the whole image averages over a window of this side around
            each position instead; best is the side of its training crops. None: the whole image.
        self_ensemble: ``true`` averages over 8 flips and turns, ``false`` does not; ``auto``: only for zero-shot, which
            takes the median.

    Raises:
        SettingError: a value outside these ranges.
    """

    weights: str = "ema"
    device: str = "auto"
    precision: str = "32"
    tile: str = "auto"
    tile_overlap: int = 32
    memory_gb: float = 4.0
    pool_window: int | None = None
    self_ensemble: str = "auto"

    def __post_init__(self) -> None:
        # from Python these may be a number and a boolean, from YAML "96" and "True"
        self.tile, self.self_ensemble = str(self.tile), str(self.self_ensemble).lower()
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise SettingError(name, getattr(self, name), ", ".join(known))
        if self.tile not in ("auto", "none") and (not self.tile.isdigit() or int(self.tile) < 1):
            raise SettingError("tile", self.tile, "auto, none or a side in lq pixels")
        if self.tile_overlap < 0:
            raise SettingError("tile_overlap", self.tile_overlap, "at least 0 lq pixels")
        if not self.memory_gb > 0:
            raise SettingError("memory_gb", self.memory_gb, "above 0 GiB")

    def ensemble(self, *, default: bool) -> bool:
        """Whether to average over flips and turns; ``default`` is the meaning of ``auto`` for the method."""
        return default if self.self_ensemble == "auto" else self.self_ensemble == "true"


@dataclass(frozen=True, kw_only=True)
class ZeroShotTraining:
    """How zero-shot super-resolution trains on an image.

    Attributes:
        max_steps: maximum optimiser steps of each scale step; None: :data:`SCRATCH_STEPS` from random weights,
            :data:`STARTED_STEPS` from trained ones.
        max_seconds: time limit for training on one image and enlarging it; None for no limit.
        start: ``scratch``; ``photos``: the weights ``super_resolution_x2``, ``_x3`` or ``_x4``, whose network is then
            trained in place of the published one, and for other scales ``zero_shot_start``; or the path of a checkpoint
            of ``super_resolution`` or of the published network.
        start_share: share of the start's weights in the mean of them and the trained ones, with which the image is
            enlarged (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022); None: 0.5 from weights of
            ``super_resolution`` for an image without ``model.kernel`` and ``data.noise``, else 0.
        degradation: ``given``: bicubic and clean, or as ``model.kernel`` and ``data.noise`` say; ``auto``: blur and
            noise are estimated from the image, and used where they are clearly present.
        seed: of initial weights and crops.
        model: arguments of :class:`restore.models.zero_shot.model.ZeroShotSuperResolution`, without ``scale``; ``lr``
            and ``lr_decay_range`` may be None: chosen by the start.
        data: arguments of :class:`restore.data.single_image.SingleImageData`, without ``image``, ``scale``, ``seed``;
            ``patch_size`` and ``batch_size`` may be None: chosen by the start.

    Raises:
        SettingError: a value is out of bounds; ``model`` and ``data`` are checked where they are used.
    """

    max_steps: int | None = None
    max_seconds: float | None = None
    start: str = "photos"
    start_share: float | None = None
    degradation: str = "given"
    seed: int = 0
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_steps is not None and self.max_steps < 1:
            raise SettingError("zero_shot.max_steps", self.max_steps, "at least 1")
        if self.start_share is not None and not (
            0 <= self.start_share < 1 and (self.start != SCRATCH or not self.start_share)
        ):
            expected = "at least 0 and below 1, and 0 with start=scratch"
            raise SettingError("zero_shot.start_share", self.start_share, expected, "leave it out")
        if self.degradation not in ("given", "auto"):
            raise SettingError("zero_shot.degradation", self.degradation, "given, or auto")
        if self.degradation == "auto" and (self.model.get("kernel") or self.data.get("noise")):
            expected = "given, because the blur or the noise is given"
            raise SettingError(
                "zero_shot.degradation", "auto", expected, "leave zero_shot.model.kernel and data.noise out"
            )
        if self.seed < 0:
            raise SettingError("seed", self.seed, "at least 0")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise SettingError("max_seconds", self.max_seconds, "a number above 0, or null")

    @property
    def steps(self) -> int:
        """Maximum optimiser steps of each scale step."""
        if self.max_steps is not None:
            return self.max_steps
        return SCRATCH_STEPS if self.start == SCRATCH else STARTED_STEPS


# the classes of zero-shot: their arguments are settings, the classes themselves are fixed
_ZERO_SHOT = {
    "model": "restore.models.zero_shot.model.ZeroShotSuperResolution",
    "data": "restore.data.single_image.SingleImageData",
}


def inference_settings(cfg: "DictConfig") -> dict[str, Any]:
    """The arguments of ``open_restorer`` apart from ``ckpt_path``.

    Args:
        cfg: root of ``evaluate``, ``predict`` or ``serve``.

    Raises:
        SettingError: a value is out of range, or one under ``zero_shot`` contradicts a setting of the command.
    """
    from omegaconf import OmegaConf

    if cfg.scale is not None and not math.isfinite(cfg.scale):
        raise SettingError("scale", cfg.scale, "a finite number")
    for name in ("devices", "threads"):
        if cfg[name] is not None and not 1 <= cfg[name] <= MOST_THREADS:
            raise SettingError(name, cfg[name], f"at least 1 and at most {MOST_THREADS}")
    zero_shot: Any = OmegaConf.to_container(cfg.zero_shot, resolve=True)
    for part, expected in _ZERO_SHOT.items():
        given = zero_shot[part].pop("_target_")
        if given != expected:
            raise SettingError(f"zero_shot.{part}", given, expected, f"leave {part}@zero_shot.{part} out")
        if zero_shot[part].pop("scale") != cfg.scale:
            expected = f"{cfg.scale}, the value of scale"
            raise SettingError(f"zero_shot.{part}.scale", cfg.zero_shot[part].scale, expected, "set scale alone")
    if zero_shot["data"].pop("image") is not None:
        expected = "null, because the image comes from input or benchmarks"
        raise SettingError("zero_shot.data.image", cfg.zero_shot.data.image, expected, "leave it out")
    return {
        "scale": cfg.scale,
        "inference": Inference(**{each.name: cfg[each.name] for each in fields(Inference)}),
        "zero_shot": ZeroShotTraining(max_seconds=cfg.max_seconds, seed=cfg.seed, **zero_shot),
    }
