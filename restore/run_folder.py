"""The folder of a run: what it holds, when it may be resumed, and when it is finished.

``outputs/<name>/<run_id>/`` holds config.yaml, overrides.yaml, environment.json, metrics.csv, checkpoints/, panels/,
curves.png, train.log and result.json.
"""

import json
import logging
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from restore.seal import is_sound

log = logging.getLogger(__name__)

# settings that change neither what is learned nor what is measured, and so may differ when a run goes on
FREE = (
    "resume",
    "run_id",
    "run_token",
    "data.num_workers",
    "data.cache_gb",
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
)
LAST, PREVIOUS, BEST = "last.ckpt", "last.prev.ckpt", "best.ckpt"
_PACKAGES = ("restore", "torch", "torchvision", "lightning", "torchmetrics", "kornia", "numpy", "pillow", "hydra-core")


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
    try:
        with FileLock(folder / "lock", timeout=0):
            return False
    except Timeout:
        return True


def discard_unused(folder: Path) -> None:
    """Remove the folder of a run that ended, on a wrong setting for example, before it was described."""
    described = ("config.yaml", "environment.json", "metrics.csv", "result.json", "checkpoints")
    if any((folder / name).exists() for name in described):
        return
    for name in ("train.log", "run_token", "lock"):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # somebody else's files stay
        folder.rmdir()


def clear(folder: Path) -> None:
    """Remove what an earlier start, killed before its first ``last.ckpt``, left for a run that begins anew."""
    for name in ("checkpoints/best.ckpt", "metrics.csv", "non_finite.pt"):
        (folder / name).unlink(missing_ok=True)


def resume_point(folder: Path, config: dict[str, Any], resume: str) -> Path | None:
    """Which checkpoint this start goes on from, or None for a fresh run and for one that is finished.

    Args:
        config: resolved, plain.
        resume: ``auto`` goes on from the folder's ``last.ckpt`` when there is one, or from the one before it where
            that is damaged; a path starts a new run from it.

    Raises:
        ValueError: the folder holds a run with another configuration, or all its checkpoints are damaged.
        FileNotFoundError: no such checkpoint.
    """
    last, previous = (folder / "checkpoints" / name for name in (LAST, PREVIOUS))
    is_finished = (folder / "result.json").exists()
    if last.exists() or previous.exists() or is_finished:
        old = read_mapping(folder / "config.yaml", ("model", "data", "trainer"))
        changed = [key for key in sorted(set(differences(old, config))) if not _is_free(key)]
        if changed:
            shown = ", ".join(f"{key}: {_at(old, key)!r} -> {_at(config, key)!r}" for key in changed[:8])
            raise ValueError(
                f"run_id: {folder} holds a run with other settings ({shown}); use another run_id, "
                f"or resume={last} under another run_id to start from it"
            )
        return None if is_finished else _newest_sound([last, previous])
    if resume == "auto":
        return None
    if not Path(resume).is_file():
        raise FileNotFoundError(f"resume: {resume} is not a file, expected auto or a checkpoint")
    return Path(resume)


def _newest_sound(candidates: list[Path]) -> Path:
    found = [path for path in candidates if path.exists()]
    for path in found:
        if is_sound(path):
            return path
    names, folder = " and ".join(path.name for path in found), found[0].parent
    best = folder / BEST
    other = f"resume={best} with another run_id" if best.exists() and is_sound(best) else "another run_id"
    raise ValueError(
        f"resume: {names} in {folder} {'are' if len(found) > 1 else 'is'} damaged, expected one that can be gone on "
        f"from; nothing was changed. Put a copy back if you have one, or start with {other}"
    )


def damage(folder: Path, resume: Path) -> dict[Path, str]:
    """Damaged checkpoints of a run that goes on all the same, and what is to be said about each.

    Args:
        resume: the run's own checkpoint that it goes on from.
    """
    last, best = (folder / "checkpoints" / name for name in (LAST, BEST))
    sentences = {
        last: f"{LAST} was damaged, so the run went on from {resume.name}",
        best: f"{BEST} was damaged, so the best was chosen anew among the validations behind {resume.name}",
    }
    found = {path: sentence for path, sentence in sentences.items() if path.exists() and not is_sound(path)}
    return {path: f"{sentence}; the damaged file is kept as {_aside(path).name}" for path, sentence in found.items()}


def set_aside(damaged: Iterable[Path]) -> None:
    """Rename damaged checkpoints: else the next save would keep a damaged ``last.ckpt`` as the sound previous one."""
    for path in damaged:
        with suppress(FileNotFoundError):  # another process of the same run was first
            os.replace(path, _aside(path))


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.damaged{path.suffix}")


def warnings(folder: Path) -> list[str]:
    """What the starts of a run warned of, each sentence once."""
    starts = read_mapping(folder / "environment.json", ("starts",))["starts"]
    return list(dict.fromkeys(warning for start in starts for warning in start.get("warnings", [])))


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


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def differences(old: Any, new: Any, prefix: str = "") -> Iterator[str]:
    """Dotted keys whose values differ between two nested dicts."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else str(key))
    elif old != new:
        yield prefix


def _at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config


def result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run."""
    path = folder / "result.json"
    return read_mapping(path, ("monitor", "value", "steps")) if path.exists() else None


def finished(folder: Path) -> dict[str, Any]:
    """The result of a run that must be finished.

    Raises:
        FileNotFoundError: there is none.
    """
    found = result(folder)
    if found is None:
        raise FileNotFoundError(f"{folder / 'result.json'} was not written; start the same command again")
    return found


def remedy(folder: Path) -> str:
    """How an interrupted run goes on."""
    # a point of a sweep has its settings as its name, and goes on with the whole sweep
    with_id = "" if "=" in folder.name else f" with run_id={folder.name}"
    return f"Start the same command{with_id} again to go on from the last checkpoint"


def run_token(folder: Path) -> str:
    """A short random id that stays with the folder; the dashboard's run id."""
    path = folder / "run_token"
    if not path.exists():
        write_text(path, secrets.token_hex(4))
    return path.read_text()


def describe(folder: Path, config: dict[str, Any], overrides: list[str], facts: dict[str, Any]) -> None:
    """Write config.yaml, overrides.yaml and environment.json.

    Args:
        facts: about this start: device, processes, threads, data fingerprint.
    """
    write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    write_text(folder / "overrides.yaml", yaml.safe_dump(overrides))
    path = folder / "environment.json"
    starts = read_mapping(path, ("starts",))["starts"] if path.exists() else []
    for key in ("processes", "threads", "data"):
        if starts and starts[-1].get(key, facts.get(key)) != facts.get(key):
            log.warning("%s changed since the last start: the run goes on, but not bit for bit the same", key)
    start = {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "python": sys.version.split()[0],
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: version(name) for name in _PACKAGES},
        "git": git_state(),
    } | facts
    write_text(path, json.dumps({"starts": [*starts, start]}, indent=2) + "\n")


def git_state() -> dict[str, Any] | None:
    """Commit of the code, and whether files differ from it; None outside a git checkout."""
    here = Path(__file__).resolve().parent
    if not (here.parent / ".git").exists():
        return None
    commit = _git(here, "rev-parse", "HEAD")
    return None if commit is None else {"commit": commit, "dirty": bool(_git(here, "status", "--porcelain"))}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a very slow disk
        return None
    return done.stdout.strip() if done.returncode == 0 else None
