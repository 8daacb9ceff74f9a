"""Checks data settings without torch: numbers out of bounds, folders that do not exist."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restore.data.embedded_photos import EMBEDDED
from restore.io.errors import SettingError


def check_bounds(
    *, batch_size: int = 1, val_limit: int | None = None, num_workers: int = 0, cache_gb: float = 0.0
) -> None:
    """Refuse numbers that no data set of image pairs accepts.

    Raises:
        SettingError: a number is out of bounds.
    """
    if batch_size < 1:  # also refused by the sampler, but only after the run has been described
        raise SettingError("data.batch_size", batch_size, "a positive number of samples")
    if val_limit is not None and val_limit < 1:
        raise SettingError("data.val_limit", val_limit, "at least 1 image, or null for all")
    if num_workers < 0:
        raise SettingError("data.num_workers", num_workers, "at least 0 processes")
    if cache_gb < 0:
        raise SettingError("data.cache_gb", cache_gb, "at least 0 GiB")


def check_patch(*, patch_size: int, scale: int) -> None:
    """Refuse a training crop whose side is not a whole number of lq pixels.

    Raises:
        SettingError
    """
    if patch_size < scale or patch_size % scale:
        nearest = max(1, round(patch_size / scale)) * scale
        raise SettingError("data.patch_size", patch_size, f"a multiple of the scale {scale}, for example {nearest}")


def refuse_missing_paths(data: Mapping[str, Any]) -> None:
    """Refuse settings of ``data`` that name a missing folder or image, or a file instead of a folder as the pack.

    Args:
        data: settings of any of the DataModules, as plain values.

    Raises:
        SettingError: names the setting.
    """
    image = data.get("image")
    if isinstance(image, str) and not Path(image).is_file():
        raise SettingError("data.image", image, "an image file, but there is no such file")
    for key in ("root", "benchmarks", "validation"):
        given = data.get(key)
        for folder in given if isinstance(given, list) else [given]:
            if isinstance(folder, str) and not (key == "validation" and folder == "last_frames"):
                refuse_missing_folder(folder, f"data.{key}")
    pack = data.get("pack")
    if isinstance(pack, str) and Path(pack).exists() and not Path(pack).is_dir():
        raise SettingError("data.pack", pack, "a folder, but it is a file", "name another")


def refuse_missing_folder(folder: str, setting: str) -> None:
    """Refuse a value that is neither a folder nor the name of an embedded set.

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


def check_batch_memory(*, batch_size: int, patch_size: int, scale: float, memory: int | None) -> str | None:
    """A warning about a batch whose crops alone fill much of the memory, before minutes are spent on its first step.

    Args:
        batch_size: of one process. memory: of this machine, in bytes; None if unknown.

    Raises:
        SettingError: the crops alone do not fit.
    """
    crop = 3 * 4 * (patch_size**2 + int(patch_size // scale) ** 2)  # lq and gt as float32
    if memory is None or crop * batch_size <= memory / 8:
        return None
    needed = f"{crop * batch_size / 2**30:.3g} GiB for the crops of a batch alone"
    remedy = "lower data.batch_size or data.patch_size"
    if crop * batch_size > memory:
        raise SettingError(
            "data.batch_size", batch_size, f"at most {memory // crop}, because it takes {needed}", remedy
        )
    return f"data.batch_size is {batch_size}, which takes {needed}, and the network many times that; {remedy}"


def machine_memory() -> int | None:
    """This machine's memory in bytes; None if the system does not report it."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
