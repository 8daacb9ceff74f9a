"""Functions for ``${...}`` in ``conf/``: computed names and folders."""

import functools
import hashlib
import os
import time
from pathlib import Path

from omegaconf import OmegaConf

from restore.io.errors import SettingError

LONGEST_NAME = 255  # bytes in the name of a file or folder, on common file systems


def _run_id(given: str | None) -> str:
    """The given id, else the cluster job's id, else the time of start."""
    return (
        (given is not None and _plain("run_id", given))
        or os.environ.get("SLURM_JOB_ID")
        or time.strftime("%Y-%m-%d_%H-%M-%S")
    )


def _plain(setting: str, given: str) -> str:
    """A name for a folder; a slash would lead to another folder."""
    if Path(given).name != given or given in ("", ".."):
        raise SettingError(setting, given or "empty", "a plain name without slashes")
    if len(os.fsencode(given)) > LONGEST_NAME:
        raise SettingError(setting, given, f"at most {LONGEST_NAME} bytes, because it becomes a folder's name")
    return given


def _method(target: str) -> str:
    """The method's stem in ``restore.models.<method>.<Class>`` or ``restore.models.<method>.<file>.<Class>``."""
    return target.removeprefix("restore.models.").rpartition(".")[0].partition(".")[0]


def _folder_name(overrides: str) -> str:
    """Folder name of a sweep's point: its overrides, shortened."""
    name = overrides.replace("/", "_") or "point"
    if len(name.encode()) <= 100:
        return name
    return f"{name.encode()[:90].decode(errors='ignore')}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def register() -> None:
    """Register the functions with OmegaConf; may be called again."""
    # cached, because all interpolations of a process must give the same time
    OmegaConf.register_new_resolver("run_id", _run_id, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("plain_name", functools.partial(_plain, "name"), replace=True)
    OmegaConf.register_new_resolver("method", _method, replace=True)
    OmegaConf.register_new_resolver("folder_name", _folder_name, replace=True)
