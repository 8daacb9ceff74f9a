"""The run folder: its files, the description of the run, and its result.

``outputs/<name>/<run_id>/`` holds config.yaml, overrides.yaml, environment.json, metrics.csv, checkpoints/, panels/,
curves.png, train.log and result.json.
"""

import logging
import platform
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from restore.checkpoints.locate import LAST
from restore.io.files import listed, write_json, write_text
from restore.runs import damage

log = logging.getLogger(__name__)

DRY_RUN = "dry_run"  # temporary subfolder while trainer.max_steps is being chosen

_TOKEN = re.compile(r"[0-9a-z]{8}")
_PACKAGES = ("restore", "torch", "torchvision", "lightning", "torchmetrics", "kornia", "numpy", "pillow", "hydra-core")


def missing_above(folder: Path) -> list[Path]:
    """The folders above a run folder that do not exist yet, the innermost first."""
    return [each for each in folder.absolute().parents if not each.exists()]


def discard_unused(folder: Path, made: Iterable[Path] = ()) -> None:
    """Remove the folder of a run that ended before it was described, for example because of an invalid setting.

    Args:
        folder: the run folder. made: the folders above it that this run made, the innermost first; removed if empty.
    """
    described = ("config.yaml", "environment.json", "metrics.csv", "result.json", "checkpoints")
    if any((folder / name).exists() for name in described):
        return
    for name in ("train.log", "run_token", "lock"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / DRY_RUN, ignore_errors=True)
    with suppress(OSError):  # it contains other files
        for each in (folder, *made):
            each.rmdir()


def clear(folder: Path) -> None:
    """Before a new run, remove the files of an earlier start that was killed before its first ``last.ckpt``."""
    for name in ("checkpoints/best.ckpt", "metrics.csv", "non_finite.pt"):
        (folder / name).unlink(missing_ok=True)


def warnings(folder: Path) -> list[str]:
    """Warnings of all starts of a run, without duplicates."""
    return list(dict.fromkeys(warning for start in damage.starts(folder) for warning in start.get("warnings", [])))


def finished(folder: Path) -> dict[str, Any]:
    """The result of a run that is expected to be finished.

    Raises:
        FileNotFoundError: the run has no result.
    """
    found = damage.result(folder)
    if found is None:
        raise FileNotFoundError(f"{folder / 'result.json'} was not written; start the same command again")
    return found


def remedy(folder: Path, *, is_point: bool) -> str:
    """How to resume an interrupted run; a point of a sweep is resumed by starting the whole sweep again."""
    with_id = "" if is_point else f" with run_id={folder.name}"
    if not (folder / "checkpoints" / LAST).exists():
        return "Nothing was trained yet; start the same command again"
    return f"Start the same command{with_id} again to continue from the last checkpoint"


def run_token(folder: Path) -> str:
    """A short random id that stays with the folder; the dashboard's run id.

    If its file is lost, it is taken from ``config.yaml``; failing that, the run gets a new one.
    """
    path = folder / "run_token"
    found = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if not _TOKEN.fullmatch(found):
        if path.exists():
            damage.set_aside([path])
            log.warning("run_token was damaged; the damaged file is kept as %s", damage.aside(path).name)
        stored = str((damage.stored_config(folder) or {}).get("run_token"))
        found = stored if _TOKEN.fullmatch(stored) else secrets.token_hex(4)
        write_text(path, found)
    return found


def describe(folder: Path, config: dict[str, Any], overrides: list[str], facts: dict[str, Any]) -> None:
    """Write config.yaml, overrides.yaml and environment.json.

    Args:
        facts: about this start: device, processes, threads, fingerprint of the data.
    """
    write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    write_text(folder / "overrides.yaml", yaml.safe_dump(overrides))
    path = folder / "environment.json"
    starts = damage.starts(folder)
    for key in ("processes", "threads", "precision", "data"):
        if starts and starts[-1].get(key, facts.get(key)) != facts.get(key):
            log.warning("%s changed since the last start: the run resumes, but not bit for bit", key)
    before, now = (each.get("held_out") for each in (starts[-1] if starts else {}, facts))
    if isinstance(before, list) and before != now:
        log.warning(
            "data.root now holds out %s instead of %s: images that were validated on may be trained on from "
            "now on, so scores of this run are not comparable with earlier ones",
            listed(now or []),
            listed(before),
        )
    start = {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "python": sys.version.split()[0],
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: version(name) for name in _PACKAGES},
        "git": git_state(),
    } | facts
    write_json(path, {"starts": [*starts, start]}, indent=2)


def recorded_precision(folder: Path) -> str:
    """The precision of the run's last start; empty if none was recorded, as in runs of earlier versions."""
    starts = damage.starts(folder)
    return str(starts[-1].get("precision", "")) if starts else ""


def git_state() -> dict[str, Any] | None:
    """Commit of the code, and whether the files differ from it; None outside a git checkout."""
    here = Path(__file__).resolve().parents[1]
    if not (here.parent / ".git").exists():
        return None
    commit = _git(here, "rev-parse", "HEAD")
    return None if commit is None else {"commit": commit, "dirty": bool(_git(here, "status", "--porcelain"))}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):  # git is not installed, or the disk is slow
        return None
    return done.stdout.strip() if done.returncode == 0 else None
