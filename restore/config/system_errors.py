"""Adds to the system's errors the setting that names the file."""

import errno
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from restore.io.errors import SettingError

_REASONS = {
    errno.ENOENT: "it does not exist, or was removed in the meantime",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "it is a file, not a folder",
    errno.EISDIR: "it is a folder, not a file",
    errno.ELOOP: "its symbolic links form a loop",
    errno.ENAMETOOLONG: "the name is too long",
}


def with_setting(error: OSError, settings: DictConfig) -> Exception:
    """The error with the setting that names the file or a folder above it; unchanged if no setting does."""
    if error.errno in (None, errno.ENOSPC, errno.EDQUOT) or not isinstance(error.filename, str | bytes):
        return error
    file = os.path.abspath(os.fsdecode(error.filename))  # noqa: PTH100  resolving would follow a cycle of links
    found = max(
        ((path, key, value) for path, key, value in _paths(settings) if file == path or file.startswith(f"{path}/")),
        default=None,
        key=lambda each: len(each[0]),
    )
    if found is None:
        return error
    reason = _REASONS.get(error.errno or 0, error.strerror)
    return SettingError(found[1], found[2], f"a path that can be used, but {file}: {reason}", "fix it or name another")


def _paths(settings: DictConfig) -> Iterator[tuple[str, str, str]]:
    """Absolute path, key and value of each setting that may be a path; ``run_id`` stands for the run's folder."""
    if HydraConfig.initialized() and not OmegaConf.is_missing(HydraConfig.get().runtime, "output_dir"):
        folder = str(HydraConfig.get().runtime.output_dir)
        yield folder, "run_id", Path(folder).name
    waiting: list[tuple[str, object]] = [("", OmegaConf.to_container(settings, resolve=False))]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{key}.{name}" if key else str(name), each) for name, each in value.items()]
        elif isinstance(value, list):
            waiting += [(key, each) for each in value]
        elif isinstance(value, str) and value and "${" not in value:
            yield os.path.abspath(value), key, value  # noqa: PTH100  as above


def no_run_folder(error: Exception) -> Exception:
    """The error when Hydra cannot make the run folder or its log, with the setting that names it; else unchanged."""
    raised = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    found = error.__cause__ if isinstance(error.__cause__, OSError) else error  # logging wraps the system's error
    if not isinstance(found, OSError) or found.filename is None or not any("/hydra/" in file for file in raised):
        return error
    reason = _REASONS.get(found.errno or 0, found.strerror)
    expected = f"a folder that can be made and written to ({reason})"
    return SettingError("hydra.run.dir", found.filename, expected, "start the command in another folder, or set it")
