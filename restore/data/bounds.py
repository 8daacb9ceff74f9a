"""Checks of data settings without torch: numbers out of their bounds, folders that do not exist."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restore.data.photos import EMBEDDED
from restore.io.errors import SettingError


def check_bounds(
    *, batch_size: int = 1, val_limit: int | None = None, num_workers: int = 0, cache_gb: float = 0.0
) -> None:
    """Refuse numbers that no set of image pairs takes.

    Raises:
        SettingError: a number out of its bounds.
    """
    if batch_size < 1:  # refused here as well as by the sampler, which is made when the run is already described
        raise SettingError("data.batch_size", batch_size, "a positive number of samples")
    if val_limit is not None and val_limit < 1:
        raise SettingError("data.val_limit", val_limit, "at least 1 image, or null for all")
    if num_workers < 0:
        raise SettingError("data.num_workers", num_workers, "at least 0 processes")
    if cache_gb < 0:
        raise SettingError("data.cache_gb", cache_gb, "at least 0 GiB")


def check_patch(*, patch_size: int, scale: int) -> None:
    """Refuse a training crop that is no whole number of lq pixels.

    Raises:
        SettingError
    """
    if patch_size < scale or patch_size % scale:
        nearest = max(1, round(patch_size / scale)) * scale
        raise SettingError("data.patch_size", patch_size, f"a multiple of the scale {scale}, for example {nearest}")


def refuse_missing_paths(data: Mapping[str, Any]) -> None:
    """Refuse folders and the image that the settings of ``data`` name and that do not exist.

    Args:
        data: settings of any of the DataModules, plain.

    Raises:
        SettingError: named by its key.
    """
    image = data.get("image")
    if isinstance(image, str) and not Path(image).is_file():
        raise SettingError("data.image", image, "an image file, but there is no such file")
    for key in ("root", "benchmarks", "validation"):
        given = data.get(key)
        for folder in given if isinstance(given, list) else [given]:
            if isinstance(folder, str) and not (key == "validation" and folder == "last_frames"):
                refuse_missing_folder(folder, f"data.{key}")


def refuse_missing_folder(folder: str, setting: str) -> None:
    """Refuse what is neither a folder nor the name of an embedded set.

    Raises:
        SettingError
    """
    path = Path(folder)
    if folder not in EMBEDDED and not path.is_dir():
        reason = "is a file" if path.exists() else "does not exist"
        raise SettingError(
            setting,
            folder,
            f"a folder of images, or one of {', '.join(EMBEDDED)}",
            f"{path.absolute()} {reason}",
        )
