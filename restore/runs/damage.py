"""Detects, reports and renames damaged small files of a run, so that the run resumes from its checkpoint."""

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from restore.io.files import read_mapping

# settings present in every config.yaml; a file that lacks one was truncated
_ROOT = (
    *("model", "data", "trainer", "logger", "callbacks", "checkpoint", "seed", "name", "run_id", "run_token", "resume"),
    *("init_from", "threads", "val_every_steps"),
)

Rows = list[dict[str, str]]


def small_files(folder: Path, *, needed: Sequence[str]) -> dict[Path, str]:
    """Damaged small files of a run folder, with a sentence about each.

    Args:
        needed: names of files that count as damaged if they are missing.
    """
    found: dict[Path, str] = {}
    for name, (is_sound, outcome) in _FILES.items():
        path = folder / name
        if path.exists() and not is_sound(path):
            found[path] = f"{name} was damaged: {outcome}; the damaged file is kept as {aside(path).name}"
        elif name in needed and not path.exists():
            found[path] = f"{name} was missing: {outcome}"
    return found


def set_aside(damaged: Iterable[Path]) -> None:
    """Rename damaged files, which new ones would otherwise overwrite."""
    for path in damaged:
        with suppress(FileNotFoundError):  # it is missing, or another process of the run has renamed it
            os.replace(path, aside(path))


def aside(path: Path) -> Path:
    """The new name of a damaged file."""
    return path.with_name(f"{path.stem}.damaged{path.suffix}")


def stored_config(folder: Path) -> dict[str, Any] | None:
    """The settings of a run's last start, or None if ``config.yaml`` is damaged or missing."""
    path = folder / "config.yaml"
    try:
        found = read_mapping(path, _ROOT)
    except ValueError:
        return None
    return found if path.read_bytes().endswith(b"\n") else None


def starts(folder: Path) -> list[dict[str, Any]]:
    """The entries of ``environment.json``, one per start, newest last; empty if it is damaged or missing."""
    try:
        found = read_mapping(folder / "environment.json", ("starts",))["starts"]
    except ValueError:
        return []
    is_sound = isinstance(found, list) and all(
        isinstance(each, dict) and isinstance(each.get("warnings", []), list) for each in found
    )
    return list(found) if is_sound else []


def result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run, or None for an unfinished one.

    Raises:
        ValueError: ``result.json`` is damaged.
    """
    path = folder / "result.json"
    if not path.exists():
        return None
    found = read_mapping(path, ("monitor", "value", "steps"))
    try:
        float(found["value"]), int(found["steps"])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged: its value or its steps are not a number; remove it and start again"
        ) from error
    return found


def has_sound_result(folder: Path) -> bool:
    """Whether the run is finished and its result can be read."""
    try:
        return result(folder) is not None
    except ValueError:
        return False


def metrics(path: Path) -> tuple[Rows, bool]:
    """The sound rows of a ``metrics.csv``, and whether these are all its rows.

    A value that was not logged at a step is the empty string. A kill can leave the last line incomplete.
    """
    if not path.is_file():
        return [], False
    whole, _, _ = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
    try:
        header, *lines = csv.reader(whole.splitlines())
    except (ValueError, csv.Error):  # the file is empty, or no table
        return [], False
    if header[:1] != ["step"]:
        return [], False
    rows = [dict(zip(header, line, strict=True)) for line in lines if _is_row(line, len(header))]
    return rows, len(rows) == len(lines)


def _is_row(line: Sequence[str], length: int) -> bool:
    try:
        [float(value) for value in line if value]
    except ValueError:
        return False
    return len(line) == length and line[0].isdecimal()


_FILES: dict[str, tuple[Callable[[Path], bool], str]] = {
    "config.yaml": (
        lambda path: stored_config(path.parent) is not None,
        "it is rewritten, and this start's settings could not be compared with those before",
    ),
    "overrides.yaml": (Path.is_file, "it is rewritten"),
    "environment.json": (lambda path: bool(starts(path.parent)), "it is rewritten, without the earlier starts"),
    "metrics.csv": (lambda path: metrics(path)[1], "its undamaged rows up to this start are kept"),
    "result.json": (lambda path: has_sound_result(path.parent), "the run is scored again"),
    "results.csv": (Path.is_file, "it is rewritten"),
    "curves.png": (Path.is_file, "it is redrawn"),
    "report.html": (Path.is_file, "it is rewritten"),
}
