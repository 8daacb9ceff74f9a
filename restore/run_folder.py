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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

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
    if not (folder / "lock").exists():
        return False
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


def remedy(folder: Path, *, is_point: bool) -> str:
    """How an interrupted run goes on; a point of a sweep with the whole sweep."""
    with_id = "" if is_point else f" with run_id={folder.name}"
    if not (folder / "checkpoints" / LAST).exists():
        return "Nothing was trained yet; start the same command again"
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
