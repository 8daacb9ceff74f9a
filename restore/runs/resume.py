"""Decides which checkpoint a run resumes from and which settings may then differ; finds damaged checkpoints."""

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from restore.checkpoints.checksum import is_sound
from restore.checkpoints.locate import BEST, LAST, PREVIOUS
from restore.checkpoints.renames import with_current_targets
from restore.io.errors import SettingError
from restore.runs import damage

# settings that change neither the training nor its scores, so they may differ when a run resumes
FREE = (
    "resume",
    "run_id",
    "run_token",
    "data.num_workers",
    "data.cache_gb",
    "data.pack",
    "logger",
    "callbacks.progress",
    "callbacks.panels",
    "callbacks.attention",
    "callbacks.throughput",
    "checkpoint",
    "threads",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.max_time",
)


def resume_point(folder: Path, config: dict[str, Any], resume: str) -> Path | None:
    """The checkpoint that this start resumes from; None for a new run and for a finished one.

    Args:
        config: resolved, as plain containers.
        resume: ``auto`` uses the folder's ``last.ckpt`` if it exists, or the previous one if that is damaged; a path
            starts a new run from that checkpoint.

    Raises:
        SettingError: the folder contains a run with another configuration, or all its checkpoints are damaged.
        ValueError: the folder contains a damaged result and no checkpoint.
        FileNotFoundError: no such checkpoint.
    """
    last, previous = (folder / "checkpoints" / name for name in (LAST, PREVIOUS))
    has_checkpoint = last.exists() or previous.exists()
    # a damaged result is computed again from the checkpoint
    is_finished = damage.has_sound_result(folder) if has_checkpoint else damage.result(folder) is not None
    if has_checkpoint or is_finished:
        _refuse_other_settings(folder, config, last)
        return None if is_finished else _newest_sound([last, previous])
    if resume == "auto":
        return None
    if not Path(resume).is_file():
        raise FileNotFoundError(f"resume: {resume} is not a file, expected auto or a checkpoint")
    return Path(resume)


def _refuse_other_settings(folder: Path, config: dict[str, Any], last: Path) -> None:
    stored = damage.stored_config(folder)
    if stored is None:  # config.yaml is damaged; the resuming run warns and rewrites it
        return
    old = _with_defaults(with_current_targets(stored), config)
    # in a run with a time limit the number of steps was chosen automatically, and is kept
    is_chosen = None not in (_at(old, "trainer.max_time"), _at(config, "trainer.max_time"))
    free = (*FREE, "trainer.max_steps") if is_chosen else FREE
    changed = [key for key in sorted(set(differences(old, config))) if not _is_among(free, key)]
    if changed:
        shown = ", ".join(f"{key}: {_at(old, key)!r} -> {_at(config, key)!r}" for key in changed[:8])
        raise SettingError(
            "run_id",
            f"{folder.name}, and {folder} holds a run with other settings ({shown})",
            "the same settings",
            f"use another run_id, with resume={last} to start from that run; if its config.yaml is wrong, remove that",
        )


def _newest_sound(candidates: list[Path]) -> Path:
    found = [path for path in candidates if path.exists()]
    for path in found:
        if is_sound(path):
            return path
    names, folder = " and ".join(path.name for path in found), found[0].parent
    best = folder / BEST
    other = f"resume={best} with another run_id" if best.exists() and is_sound(best) else "another run_id"
    raise SettingError(
        "resume",
        f"auto, and {names} in {folder} {'are' if len(found) > 1 else 'is'} damaged",
        "an undamaged checkpoint",
        f"restore a copy if you have one, or start with {other}; nothing was changed",
    )


def damaged_checkpoints(folder: Path, resume: Path) -> dict[Path, str]:
    """Damaged checkpoints of a run that can still resume, with a sentence about each.

    Args:
        resume: the run's own checkpoint to resume from.
    """
    last, best = (folder / "checkpoints" / name for name in (LAST, BEST))
    sentences = {
        last: f"{LAST} was damaged, so the run resumed from {resume.name}",
        best: f"{BEST} was damaged, so the best is chosen among the validations after {resume.name}",
    }
    found = {path: sentence for path, sentence in sentences.items() if path.exists() and not is_sound(path)}
    return {
        path: f"{sentence}; the damaged file is kept as {damage.aside(path).name}" for path, sentence in found.items()
    }


def _is_among(settings: tuple[str, ...], key: str) -> bool:
    return any(key == each or key.startswith(f"{each}.") for each in settings)


def differences(old: Any, new: Any, prefix: str = "") -> Iterator[str]:
    """Dotted keys whose values differ between two nested dicts."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else str(key))
    elif old != new:
        yield prefix


def _with_defaults(old: Any, new: Any) -> Any:
    """An old configuration, completed with the constructor's defaults of settings that were added later."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [_with_defaults(*pair) for pair in zip(old, new, strict=True)]
    if not isinstance(old, dict) or not isinstance(new, dict):
        return old
    target, later = new.get("_target_"), new.keys() - old.keys()
    known = _defaults(target) if later and target is not None and target == old.get("_target_") else {}
    filled = {key: _with_defaults(value, new.get(key)) for key, value in old.items()}
    return filled | {key: known[key] for key in later & known.keys()}


def _defaults(target: str) -> dict[str, Any]:
    """Defaults of one of our constructors, in the form that a configuration stores."""
    module, _, name = target.rpartition(".")
    if not module.startswith("restore."):
        return {}
    known = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    return {key: list(each.default) if isinstance(each.default, tuple) else each.default for key, each in known.items()}


def _at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config
