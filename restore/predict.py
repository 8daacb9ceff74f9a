"""``restore predict``: file, folder or glob in, restored pictures out."""

import glob
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from restore.config import UserError, command, inference_settings
from restore.run_folder import read_mapping, write_text
from restore.signals import stopping

if TYPE_CHECKING:
    from restore.restorers import Restorer

log = logging.getLogger(__name__)

RECORD = "predict.json"  # in an output folder: how each file was made, so that an interrupted run can go on


def predict(cfg: DictConfig) -> None:
    """Restore every picture; bad ones are reported and the others go on."""
    from restore.opening import open_restorer

    restorer = open_restorer(cfg.ckpt_path, **inference_settings(cfg))
    jobs = plan(cfg.input, cfg.output, restorer.scale)
    many = Path(cfg.input).is_dir() or len(jobs) > 1
    with stopping() as signalled:
        failed = _run(restorer, jobs, Record(cfg) if many else None, signalled)
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
        self.settings = {key: value for key, value in settings.items() if key not in ("input", "output", "device")}
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


def _run(
    restorer: "Restorer", jobs: list[tuple[Path, Path]], record: Record | None, signalled: Callable[[], int]
) -> list[str]:
    """Restore each; returns a sentence for each that failed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from restore.restorers import Interrupted

    waiting = [job for job in jobs if record is None or not record.holds(*job)]
    failed, done = [], 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        pictures = bar.add_task("pictures", total=len(waiting))
        pieces = bar.add_task("pieces", total=1)

        def progress(done: int, total: int) -> None:
            bar.update(pieces, completed=done, total=total, description=f"{source.name}: {restorer.phase}")

        for source, target in waiting:
            bar.reset(pieces, description=source.name)
            try:
                _restore(restorer, source, target, progress, lambda: bool(signalled()))
            except Interrupted:
                break
            except (ValueError, OSError) as error:
                failed.append(str(error) if str(source) in str(error) else f"{source}: {error}")
            else:
                done += 1
                # one that was cut short is made again by the same command
                if record is not None and not signalled():
                    record.add(source, target, restorer.notes)
            bar.advance(pictures)
            if signalled():
                break
    where = jobs[0][1] if record is None else jobs[0][1].parent
    log.info("%d restored, %d were done before, %d failed: %s", done, len(jobs) - len(waiting), len(failed), where)
    return failed


def _restore(restorer: "Restorer", source: Path, target: Path, progress: Any, cancel: Callable[[], bool]) -> None:
    from restore import image
    from restore.restorers import restore_picture

    image.write(target, restore_picture(restorer, image.read(source), progress=progress, cancel=cancel))


main = command(predict, "predict")

if __name__ == "__main__":
    main()
