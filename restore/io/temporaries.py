"""Temporary files and folders, and the removal of those left by a process that was killed.

Only what is certainly ours and abandoned is removed: its name has our form, it belongs to this user, and its lock can
be taken. The process that made it holds the lock, and the system releases it however that process ends.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK = "lock"
_NAME = re.compile(r"\..+\.restore-(\d+)\.tmp")


@contextmanager
def temporary_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A new folder, removed at the end; first, folders of the same prefix left by killed processes are removed.

    Args:
        prefix: of its name: ``restore_`` and the purpose. parent: None for the system's temporary folder.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    _sweep_folders(parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        # the lock gets its final name only once it is held, so that the folder is never taken for an abandoned one
        with FileLock(folder / f"{_LOCK}.new") as lock:
            with suppress(PermissionError):  # Windows cannot rename open files; leftovers remain there
                os.replace(lock.lock_file, folder / _LOCK)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep_folders(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        lock = folder / _LOCK
        with suppress(OSError, Timeout):  # another user's, in use, or already gone
            if folder.is_symlink() or not lock.is_file() or not _is_own(lock):
                continue
            with FileLock(lock, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)


def temporary_name(begin: str) -> str:
    """Name of a file until its content is complete; it contains the id of this process."""
    return f".{begin}.restore-{os.getpid()}.tmp"


def hold(number: int) -> None:
    """Lock an open file while it is open, so that no other process removes it; does nothing where unsupported."""
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep_files(folder: Path, *, below: bool = False) -> None:
    """Remove leftovers of killed writers in a folder.

    Args:
        below: also in its subfolders.
    """
    for file in folder.rglob(".*.tmp") if below else folder.glob(".*.tmp"):
        found = _NAME.fullmatch(file.name)
        if found is not None and not file.is_symlink() and not _is_running(int(found[1])):
            with suppress(OSError):  # another user's, in use on another machine, or already gone
                _remove_unlocked(file)


def _remove_unlocked(file: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return
    with open(file, "r+b") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_own(file):
            file.unlink()


def _is_running(process: int) -> bool:
    """Whether another process with this id exists on this machine."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or not a valid id
        return True
    return True


def _is_own(file: Path) -> bool:
    return not hasattr(os, "getuid") or file.stat().st_uid == os.getuid()
