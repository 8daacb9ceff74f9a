"""The values that ``ckpt_path`` can take, and their short names in tables and folders; does not import torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restore.checkpoints.locate import locate, refuse_missing, shipped
from restore.config.inference import SCRATCH
from restore.io.errors import SettingError

ENLARGERS = ("zero_shot", "bicubic")  # accept any scale, and need one
MOST_SCALE = 16
# settings of the published zero-shot network, which the networks of super_resolution do not have, and their defaults
_PUBLISHED_NETWORK = {"scale_steps": None, "in_channels": 3, "width": 64, "depth": 8, "kernel_size": 3}
BASELINES = (*ENLARGERS, "identity")
PHOTOS = "photos"  # zero_shot.start: the best weights for the scale
START = "zero_shot_start"  # the weights of the published network, for scales without weights of super_resolution
_PHOTO = "super_resolution_photo_x"  # shipped weights for damaged photos: the scale follows
AUTO = "auto"  # shipped weights chosen by the image, or zero_shot for a scale without any


def needs_scale(ckpt_path: str) -> bool:
    """Whether it can enlarge by any factor, so that the scale must be given."""
    return ckpt_path in ENLARGERS


def refuse_unknown(ckpt_path: str, scale: float | None, *, setting: str = "ckpt_path") -> None:
    """Refuse a name or file that does not exist, or a missing scale where one is needed.

    Args:
        ckpt_path: the value. scale: as given to the command. setting: name of the setting of ``ckpt_path``, for errors.

    Raises:
        FileNotFoundError, SettingError
    """
    if needs_scale(ckpt_path):
        needed_scale(ckpt_path, scale)
    elif ckpt_path == AUTO:
        if not auto_weights(scale):
            needed_scale("zero_shot", scale)
    elif ckpt_path not in BASELINES:
        refuse_missing(locate(ckpt_path), setting, others=(*BASELINES, AUTO))


def auto_weights(scale: float | None) -> list[str]:
    """Names of the weights that ``auto`` chooses from: for clean images, then for damaged photos, if both exist.

    Args:
        scale: None means 2.
    """
    factor = f"x{2 if scale is None else scale:g}"
    return [name for name in (f"super_resolution_{factor}", f"{_PHOTO}{factor[1:]}") if name in shipped()]


def photo_scales() -> list[str]:
    """The scales with shipped weights for damaged photos."""
    return [name.removeprefix(_PHOTO) for name in shipped() if name.startswith(_PHOTO)]


def start_weights(start: str, scale: float | None, model: Mapping[str, Any]) -> str | None:
    """The weights from which zero-shot starts, by file or name; None: random ones.

    Args:
        start: value of ``zero_shot.start``. scale: None means 2. model: values under ``zero_shot.model``.
    """
    if start == SCRATCH:
        return None
    if start != PHOTOS:
        return start
    clean = f"super_resolution_x{2 if scale is None else scale:g}"
    return START if of_published_network(model) or clean not in shipped() else clean


def of_published_network(model: Mapping[str, Any]) -> list[str]:
    """Names of changed settings, under ``zero_shot.model``, that the networks of ``super_resolution`` do not have."""
    return [key for key, default in _PUBLISHED_NETWORK.items() if model.get(key, default) != default]


def needed_scale(ckpt_path: str, scale: float | None) -> float:
    """The scale for a restorer without its own.

    Raises:
        SettingError: the scale is missing, too small or too large.
    """
    if scale is None:
        remedy = " or ".join(f"ckpt_path={name}" for name in shipped() if name != START)
        raise SettingError(
            "scale",
            "not given",
            f"a number, because ckpt_path={ckpt_path} has none of its own",
            f"set scale=2, for example, or name weights that have one, {remedy}",
        )
    is_too_small = scale <= 1 if ckpt_path == "zero_shot" else scale < 1
    if is_too_small or not scale <= MOST_SCALE:
        least = "above 1" if ckpt_path == "zero_shot" else "at least 1"
        raise SettingError("scale", f"{scale:g}", f"{least} and at most {MOST_SCALE}, because of ckpt_path={ckpt_path}")
    return scale


def restorer_name(ckpt_path: str) -> str:
    """A short name for tables and folders: ``bicubic``, or the file's name preceded by its run's name and id."""
    if ckpt_path in (*BASELINES, AUTO) or ckpt_path in shipped():
        return ckpt_path
    path = Path(ckpt_path).resolve()
    if path.parent.name != "checkpoints":
        return path.stem
    run = path.parent.parent
    return f"{run.parent.name}_{run.name}_{path.stem}"
