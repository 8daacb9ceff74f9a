"""Files written under a temporary name and moved, locked, and read with one sentence where they are damaged."""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, bring it to the disk, then move it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({error.strerror or error}); make room, then start the same command again"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def refuse_unwritable(folder: Path) -> None:
    """Make the folder that ``output`` names, and raise, before long work, where files cannot be written there.

    Raises:
        ValueError: with the system's reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"output: {folder} cannot be written ({error.strerror}); name another folder") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of the folder; the lock goes with the process, however it ends.

    Raises:
        ValueError: another process is at work there.
    """
    try:
        with FileLock(folder / "lock", timeout=0):
            yield
    except Timeout as error:
        raise ValueError(
            f"run_id: another process is training in {folder}; wait for it, or use another run_id"
        ) from error


def is_locked(folder: Path) -> bool:
    """Whether a process is at work in the folder."""
    if not (folder / "lock").exists():
        return False
    try:
        with FileLock(folder / "lock", timeout=0):
            return False
    except Timeout:
        return True


def read_mapping(path: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """A JSON or YAML file that holds a mapping with at least ``keys``.

    Raises:
        ValueError: damaged, missing, or something else.
    """
    try:
        text = path.read_text()
        # not by the YAML reader: to YAML 1.1 the number 1e-06 is a word
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (yaml.YAMLError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or missing ({type(error).__name__}); remove it and start again") from error
    if not isinstance(content, dict) or not all(key in content for key in keys):
        raise ValueError(f"{path} is damaged: it lacks what it should hold; remove it and start again")
    return content
