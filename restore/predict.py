"""``restore predict``: file, folder or glob in, restored pictures out."""

import glob
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from restore.config import UserError, command
from restore.run_folder import write_text

if TYPE_CHECKING:
    from restore.restorers import Restorer

log = logging.getLogger(__name__)

RECORD = "predict.json"  # in an output folder: how each file was made, so that an interrupted run can go on


def predict(cfg: DictConfig) -> None:
    """Restore every picture; bad ones are reported and the others go on."""
    from restore.restorers import Inference, open_restorer

    inference = Inference(**{name: cfg[name] for name in Inference.names()})
    restorer = open_restorer(cfg.ckpt_path, scale=cfg.scale, inference=inference)
    jobs = plan(cfg.input, cfg.output, restorer.scale)
    many = Path(cfg.input).is_dir() or len(jobs) > 1
    failed = _run(restorer, jobs, _settings(cfg) if many else None)
    if failed:
        listed = "\n  ".join(failed)
        raise UserError(f"input: {len(failed)} of {len(jobs)} pictures could not be restored:\n  {listed}")


def plan(source: str, output: str | None, scale: int) -> list[tuple[Path, Path]]:
    """Which file becomes which.

    Args:
        source: a file, a folder or a glob.
        output: a file or a folder, or None for a name beside the input.

    Raises:
        UserError: nothing to do, an output that is its own input, or two inputs for one output.
    """
    from restore.data.pairs import picture_files
    from restore.image import SUFFIXES

    path = Path(source)
    if path.is_file():
        files, folder = [path], path.parent
    elif path.is_dir():
        files, folder = picture_files(path), path.with_name(f"{path.resolve().name}_x{scale}")
    else:
        files = sorted(Path(p) for p in glob.glob(source, recursive=True) if Path(p).suffix.lower() in SUFFIXES)
        folder = Path(f"restored_x{scale}")
    if not files:
        raise UserError(f"input: {source} matches no picture; give a file, a folder or a glob ({', '.join(SUFFIXES)})")
    if output is not None and Path(output).suffix.lower() in SUFFIXES and not Path(output).is_dir():
        jobs = [(file, Path(output)) for file in files]
    else:
        jobs = [(file, (Path(output) if output else folder) / f"{file.stem}_x{scale}.png") for file in files]
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


def _settings(cfg: DictConfig) -> dict[str, Any]:
    """What a result depends on; a file made with other settings is made again."""
    from restore.checkpoint import sha256

    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    is_file = Path(cfg.ckpt_path).is_file()
    free = ("input", "output", "device", "ckpt_path")
    return {key: value for key, value in settings.items() if key not in free} | {
        "restorer": sha256(cfg.ckpt_path) if is_file else cfg.ckpt_path
    }


def _run(restorer: "Restorer", jobs: list[tuple[Path, Path]], settings: dict[str, Any] | None) -> list[str]:
    """Restore each; returns a sentence for each that failed. ``settings`` None: keep no record, skip nothing."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    failed, skipped = [], 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        pictures = bar.add_task("pictures", total=len(jobs))
        pieces = bar.add_task("this picture", total=1)
        for source, target in jobs:
            made_of = None if settings is None else {"input": _stamp(source)} | settings
            if made_of is not None and target.exists() and _record(target.parent).get(target.name) == made_of:
                skipped += 1
            else:
                bar.reset(pieces, description=source.name)
                try:
                    _restore(
                        restorer, source, target, lambda done, total: bar.update(pieces, completed=done, total=total)
                    )
                except (ValueError, OSError) as error:
                    failed.append(str(error))
                    log.error("%s", error)
                else:
                    if made_of is not None:
                        _remember(target, made_of)
            bar.advance(pictures)
    done = len(jobs) - len(failed) - skipped
    where = jobs[0][1] if settings is None else jobs[0][1].parent
    log.info("%d restored, %d were done before, %d failed: %s", done, skipped, len(failed), where)
    return failed


def _restore(restorer: "Restorer", source: Path, target: Path, progress: Any) -> None:
    from restore import image
    from restore.restorers import restore_picture

    image.write(target, restore_picture(restorer, image.read(source), progress=progress))


def _stamp(source: Path) -> list[Any]:
    status = source.stat()
    return [str(source.resolve()), status.st_size, status.st_mtime_ns]


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _remember(target: Path, made_of: dict[str, Any]) -> None:
    write_text(target.parent / RECORD, json.dumps(_record(target.parent) | {target.name: made_of}, indent=1) + "\n")


main = command(predict, "predict")

if __name__ == "__main__":
    main()
