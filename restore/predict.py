"""``restore predict``: file, folder or glob in, restored pictures out."""

import functools
import glob
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from restore.config import UserError, command, inference_settings
from restore.processes import Context, Worker, showing, spread
from restore.run_folder import read_mapping, refuse_unwritable, write_text
from restore.signals import stopping

if TYPE_CHECKING:
    from restore.restorers import Restorer

log = logging.getLogger(__name__)

RECORD = "predict.json"  # in an output folder: how each file was made, so that an interrupted run can go on


def predict(cfg: DictConfig) -> None:
    """Restore every picture; bad ones are reported and the others go on."""
    from restore.opening import open_restorer

    # opened here too, so that bad settings are named before any process starts
    jobs = plan(cfg.input, cfg.output, open_restorer(cfg.ckpt_path, **inference_settings(cfg)).scale)
    refuse_unwritable(jobs[0][1].parent)
    many = Path(cfg.input).is_dir() or len(jobs) > 1
    with stopping() as signalled:
        failed = _run(cfg, jobs, Record(cfg) if many else None, signalled)
    if signalled():
        log.warning("interrupted; what was done is kept")
        raise SystemExit(128 + signalled())
    if failed:
        listed = "\n  ".join(failed)
        raise UserError(f"input: {len(failed)} of {len(jobs)} pictures could not be restored:\n  {listed}")


def plan(source: str, output: str | None, scale: float) -> list[tuple[Path, Path]]:
    """Which file becomes which.

    Args:
        source: a file, a folder or a glob.
        output: a file or a folder, or None for a name beside the input.

    Raises:
        UserError: nothing to do, an output that is its own input, or two inputs for one output.
    """
    from restore.data.pairs import picture_files
    from restore.image import SUFFIXES

    path, label = Path(source), f"x{scale}" if scale > 1 else "restored"
    if path.is_file():
        files, folder = [path], path.parent
    elif path.is_dir():
        folder = path.resolve()  # "." has no name
        files, folder = picture_files(path), folder.with_name(f"{folder.name}_{label}")
    else:
        files = sorted(Path(p) for p in glob.glob(source, recursive=True) if Path(p).suffix.lower() in SUFFIXES)
        folder = Path(f"restored_x{scale:g}" if scale > 1 else "restored")
    if not files:
        raise UserError(f"input: {source} matches no picture; give a file, a folder or a glob ({', '.join(SUFFIXES)})")
    if output is not None and Path(output).suffix.lower() in SUFFIXES and not Path(output).is_dir():
        jobs = [(file, Path(output)) for file in files]
    else:
        jobs = [(file, (Path(output) if output else folder) / f"{file.stem}_{label}.png") for file in files]
    _refuse_collisions(jobs)
    return jobs


def _refuse_collisions(jobs: list[tuple[Path, Path]]) -> None:
    inputs = {source.resolve() for source, _ in jobs}
    seen: dict[Path, Path] = {}
    for source, target in jobs:
        if target.resolve() in inputs:
            raise UserError(f"output: {target} is an input and would be overwritten; name another file or folder")
        if target in seen:
            raise UserError(f"output: {seen[target]} and {source} would both become {target}; name a folder, or rename")
        seen[target] = source


class Record:
    """How each file of an output folder was made, kept there as ``predict.json``.

    A file made with the same settings from the same input is not made again, so an interrupted folder goes on.
    """

    def __init__(self, cfg: DictConfig) -> None:
        from restore.checkpoint import sha256

        settings: Any = OmegaConf.to_container(cfg, resolve=True)
        self.settings = {
            key: value for key, value in settings.items() if key not in ("input", "output", "device", "devices")
        }
        self.settings["ckpt_path"] = sha256(cfg.ckpt_path) or cfg.ckpt_path
        self.settings["kernel"] = sha256(str(cfg.zero_shot.model.kernel))  # the file may change under its name

    def holds(self, source: Path, target: Path) -> bool:
        """Whether ``target`` is there and was made of ``source`` as it is now."""
        if not target.exists():
            return False
        entry = self._read(target.parent).get(target.name, {})
        return {key: value for key, value in entry.items() if key != "notes"} == self._entry(source)

    def add(self, source: Path, target: Path, notes: Mapping[str, str]) -> None:
        """Note a finished file."""
        entries = self._read(target.parent) | {target.name: self._entry(source) | {"notes": dict(notes)}}
        write_text(target.parent / RECORD, json.dumps(entries, indent=1) + "\n")

    def _entry(self, source: Path) -> dict[str, Any]:
        status = source.stat()
        return {"input": [str(source.resolve()), status.st_size, status.st_mtime_ns]} | self.settings

    def _read(self, folder: Path) -> dict[str, Any]:
        path = folder / RECORD
        return read_mapping(path) if path.exists() else {}


class Outcome(NamedTuple):
    """What became of a picture.

    Attributes:
        problem: a sentence, where it failed. notes: of the restorer. interrupted: nothing was made of it.
    """

    problem: str | None = None
    notes: Mapping[str, str] = MappingProxyType({})
    interrupted: bool = False


def _run(
    cfg: DictConfig, jobs: list[tuple[Path, Path]], record: Record | None, signalled: Callable[[], int]
) -> list[str]:
    """Restore each; returns a sentence for each that failed."""
    waiting = [job for job in jobs if record is None or not record.holds(*job)]
    failed, done = [], 0
    start = functools.partial(_start, cfg.ckpt_path, inference_settings(cfg))
    with showing("pictures", len(waiting)) as (show, advance):
        for (source, target), outcome in spread(
            waiting,
            start,
            processes=cfg.devices,
            threads=cfg.threads,
            cancel=lambda: bool(signalled()),
            show=show,
        ):
            if outcome.problem is not None:
                failed.append(outcome.problem)
            elif not outcome.interrupted:
                done += 1
                # one that was cut short is made again by the same command
                if record is not None and not signalled():
                    record.add(source, target, outcome.notes)
            advance()
    where = jobs[0][1] if record is None else jobs[0][1].parent
    log.info("%d restored, %d were done before, %d failed: %s", done, len(jobs) - len(waiting), len(failed), where)
    return failed


def _start(ckpt_path: str, settings: dict[str, Any], number: int) -> Worker:
    from restore.opening import open_restorer

    return functools.partial(_restore, open_restorer(ckpt_path, **settings))


def _restore(restorer: "Restorer", job: tuple[Path, Path], context: Context) -> Outcome:
    from restore import image
    from restore.restorers import Interrupted, restore_picture

    source, target = job

    def progress(done: int, total: int) -> None:
        context.report(f"{source.name}: {restorer.phase}", done, total)

    try:
        picture = restorer.read(source)
        image.refuse_unwritable(target, picture)
        image.write(target, restore_picture(restorer, picture, progress=progress, cancel=context.cancel))
    except Interrupted:
        return Outcome(interrupted=True)
    except (ValueError, OSError) as error:
        return Outcome(str(error) if str(source) in str(error) else f"{source}: {error}")
    return Outcome(notes=dict(restorer.notes))


main = command(predict, "predict")

if __name__ == "__main__":
    main()
