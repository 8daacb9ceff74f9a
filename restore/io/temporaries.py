"""Temporary files and folders, and how the next start removes those of a process that was killed.

Only what is certainly ours and left is removed: it has a name as we give it, belongs to this user, and the lock that
its process held, which the system releases however that process ends, can be taken.
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
    """A new folder that is removed at the end; before, those of the same prefix that killed processes have left are.

    Args:
        prefix: of its name, ``restore_`` and what it is for. parent: None for the system's.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    _sweep_folders(parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        # locked before it has its name: until then it is not taken for one that was left
        with FileLock(folder / f"{_LOCK}.new") as lock:
            with suppress(PermissionError):  # Windows moves no open file; what is left there stays
                os.replace(lock.lock_file, folder / _LOCK)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep_folders(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        lock = folder / _LOCK
        with suppress(OSError, Timeout):  # of another user, in use, or gone by now
            if folder.is_symlink() or not lock.is_file() or not _is_own(lock):
                continue
            with FileLock(lock, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)


def temporary_name(begin: str) -> str:
    """Name of a file until its content is complete; it names this process."""
    return f".{begin}.restore-{os.getpid()}.tmp"


def hold(number: int) -> None:
    """Lock an open file as long as it is open, so that no other process sweeps it; nothing where that is unknown."""
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep_files(folder: Path, *, below: bool = False) -> None:
    """Remove what killed writers have left in a folder.

    Args:
        below: in the folders below it as well.
    """
    for file in folder.rglob(".*.tmp") if below else folder.glob(".*.tmp"):
        found = _NAME.fullmatch(file.name)
        if found is not None and not file.is_symlink() and not _is_running(int(found[1])):
            with suppress(OSError):  # of another user, in use on another machine, or gone by now
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
    """Whether a process of this machine, other than this one, has this number."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user, or a number that none has
        return True
    return True


def _is_own(file: Path) -> bool:
    return not hasattr(os, "getuid") or file.stat().st_uid == os.getuid()
