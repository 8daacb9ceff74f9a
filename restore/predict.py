"""``restore predict``: file, folder or glob in, restored pictures out."""

import functools
import glob
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from restore.config import UserError, command, inference_settings
from restore.names import printable
from restore.processes import Context, Worker, showing, spread
from restore.run_folder import read_mapping, refuse_unwritable, write_text
from restore.signals import stopping

if TYPE_CHECKING:
    from restore.image import Picture
    from restore.restorers import Restorer

log = logging.getLogger(__name__)

WRITE_EVERY = 1.0  # seconds between two writings of the record, which grows with the folder
OTHER_SUFFIXES = (  # pictures too, but none that are written here
    *(".gif", ".apng", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".jfif", ".jpe", ".ico", ".tga", ".psd"),
    *(".exr", ".hdr", ".pbm", ".pgm", ".ppm", ".svg", ".pdf", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw"),
)
SHOWN = 20  # files in the summary; of more, those with something to say
RECORD = "predict.json"  # in an output folder: how each file was made, so that an interrupted run can go on


def predict(cfg: DictConfig) -> None:
    """Restore every picture; bad ones are reported and the others go on."""
    from restore.opening import open_restorer

    # opened before any process starts, so that bad settings are named once
    restorer = open_restorer(cfg.ckpt_path, **inference_settings(cfg))
    jobs = plan(cfg.input, cfg.output, restorer.scale, format_=cfg.format)
    _refuse_settings(cfg, jobs)
    refuse_unwritable(jobs[0][1].parent)
    many = Path(cfg.input).is_dir() or len(jobs) > 1
    with stopping() as signalled:
        failed = _run(cfg, jobs, Record(cfg) if many else None, signalled, restorer)
    if signalled():
        log.warning("interrupted; what was done is kept")
        raise SystemExit(128 + signalled())
    if failed:
        listed = "\n  ".join(failed)
        raise UserError(f"input: {len(failed)} of {len(jobs)} pictures could not be restored:\n  {listed}")


def _refuse_settings(cfg: DictConfig, jobs: Sequence[tuple[Path, Path]]) -> None:
    if cfg.metadata not in ("strip", "keep"):
        raise UserError(f"metadata is {cfg.metadata}, expected strip or keep")
    if cfg.quality is None:
        return
    if not 1 <= cfg.quality <= 100:
        raise UserError(f"quality is {cfg.quality}, expected 1 to 100, or null")
    exact = next((target for _, target in jobs if target.suffix.lower() not in (".jpg", ".jpeg", ".webp")), None)
    if exact is not None:
        raise UserError(f"quality is {cfg.quality}, but {exact.name} has none; write .jpg or .webp, or leave it out")


def plan(source: str, output: str | None, scale: float, *, format_: str | None = None) -> list[tuple[Path, Path]]:
    """Which file becomes which, in the order of the numbers in their names, so that frames of a video stay in order.

    Args:
        source: a file, a folder or a glob.
        output: a file or a folder, or None for a name beside the input.
        format_: ``png``, ``jpg``, ``webp`` or ``tiff``, of outputs that ``output`` does not name; None for png.

    Raises:
        UserError: nothing to do, an output that is its own input or of a format that is not written, or two inputs for
            one output.
    """
    from restore.data.pairs import by_number, picture_files
    from restore.image import SUFFIXES

    path, label = Path(source), f"x{scale}" if scale > 1 else "restored"
    if path.is_file():
        files, folder = [path], path.parent
    elif path.is_dir():
        folder = path.resolve()  # "." has no name
        files, folder = picture_files(path), folder.with_name(f"{folder.name}_{label}")
    else:
        files = [Path(p) for p in glob.glob(source, recursive=True) if Path(p).suffix.lower() in SUFFIXES]
        folder = Path(f"restored_x{scale:g}" if scale > 1 else "restored")
    if not files and glob.escape(source) == source and not path.exists():
        raise UserError(f"input: {source}: no such file or folder")
    if not files:
        raise UserError(f"input: {source} matches no picture; give a file, a folder or a glob ({', '.join(SUFFIXES)})")
    files.sort(key=lambda file: (str(file.parent), by_number(file.name)))
    suffix = _suffix(format_)
    if output is not None and Path(output).suffix.lower() in OTHER_SUFFIXES and not Path(output).is_dir():
        raise UserError(f"output is {output}, expected a folder, or a file that ends in {', '.join(SUFFIXES)}")
    if output is not None and Path(output).suffix.lower() in SUFFIXES and not Path(output).is_dir():
        if format_ is not None and Path(output).suffix.lower() != suffix:
            raise UserError(f"format is {format_}, but output is {output}; leave one of them out")
        jobs = [(file, Path(output)) for file in files]
    else:
        jobs = [(file, (Path(output) if output else folder) / f"{file.stem}_{label}{suffix}") for file in files]
    _refuse_collisions(jobs)
    return jobs


def _suffix(format_: str | None) -> str:
    known = {None: ".png", "png": ".png", "jpg": ".jpg", "webp": ".webp", "tiff": ".tiff"}
    if format_ not in known:
        raise UserError(f"format is {format_}, expected png, jpg, webp or tiff")
    return known[format_]


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
        self._known: dict[Path, dict[str, Any]] = {}
        self._unwritten: set[Path] = set()
        self._last = 0.0
        self.settings["kernel"] = sha256(str(cfg.zero_shot.model.kernel))  # the file may change under its name

    def holds(self, source: Path, target: Path) -> bool:
        """Whether ``target`` is there and was made of ``source`` as it is now."""
        if not target.exists():
            return False
        entry = self._entries(target.parent).get(target.name, {})
        return {key: value for key, value in entry.items() if key != "notes"} == self._entry(source)

    def add(self, source: Path, target: Path, notes: Mapping[str, str]) -> None:
        """Note a finished file, on disk within ``WRITE_EVERY`` seconds: what is not noted is made again, no worse."""
        self._entries(target.parent)[target.name] = self._entry(source) | {"notes": dict(notes)}
        self._unwritten.add(target.parent)
        if time.monotonic() > self._last + WRITE_EVERY:
            self.save()

    def save(self) -> None:
        """Write what is noted."""
        for folder in self._unwritten:
            write_text(folder / RECORD, json.dumps(self._known[folder], indent=1) + "\n")
        self._unwritten.clear()
        self._last = time.monotonic()

    def _entry(self, source: Path) -> dict[str, Any]:
        status = source.stat()
        return {"input": [str(source.resolve()), status.st_size, status.st_mtime_ns]} | self.settings

    def _entries(self, folder: Path) -> dict[str, Any]:
        if folder not in self._known:
            path = folder / RECORD
            self._known[folder] = read_mapping(path) if path.exists() else {}
        return self._known[folder]


class Outcome(NamedTuple):
    """What became of a picture.

    Attributes:
        problem: a sentence, where it failed. notes: of the restorer. interrupted: nothing was made of it.
        sizes: (height, width) of the picture and of the result. seconds: from file to file.
    """

    problem: str | None = None
    notes: Mapping[str, str] = MappingProxyType({})
    interrupted: bool = False
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None
    seconds: float = 0.0


def _run(
    cfg: DictConfig,
    jobs: list[tuple[Path, Path]],
    record: Record | None,
    signalled: Callable[[], int],
    restorer: "Restorer",
) -> list[str]:
    """Restore each; returns a sentence for each that failed."""
    waiting = [job for job in jobs if record is None or not record.holds(*job)]
    outcomes: list[tuple[Path, Outcome]] = []
    writing = {"metadata": cfg.metadata, "quality": cfg.quality}
    start: Callable[[int], Worker]
    if cfg.devices == 1 or len(waiting) < 2:  # in this process
        start = functools.partial(_start_here, restorer, writing)
    else:
        start = functools.partial(_start, cfg.ckpt_path, inference_settings(cfg), writing)
    try:
        with showing("pictures", len(waiting)) as (show, advance):
            for (source, target), outcome in spread(
                waiting,
                start,
                processes=cfg.devices,
                threads=cfg.threads,
                cancel=lambda: bool(signalled()),
                show=show,
            ):
                outcomes.append((source, outcome))
                # one that was cut short is made again by the same command
                if record is not None and not (outcome.problem or outcome.interrupted or signalled()):
                    record.add(source, target, outcome.notes)
                advance()
    finally:
        if record is not None:
            record.save()
    _summarise(outcomes)
    failed = [outcome.problem for _, outcome in outcomes if outcome.problem is not None]
    done = sum(outcome.sizes is not None for _, outcome in outcomes)
    where = jobs[0][1] if record is None else jobs[0][1].parent
    log.info("%d restored, %d were done before, %d failed: %s", done, len(jobs) - len(waiting), len(failed), where)
    return failed


def _summarise(outcomes: list[tuple[Path, Outcome]]) -> None:
    """A table of the files; of many only those that failed or have a note, and the totals."""
    from rich.console import Console
    from rich.table import Table

    shown = outcomes if len(outcomes) <= SHOWN else [each for each in outcomes if each[1].problem or each[1].notes]
    table = Table("file", "size", "result", "seconds", "notes")
    for source, outcome in shown[:SHOWN]:
        sizes = ["", ""] if outcome.sizes is None else [f"{width}x{height}" for height, width in outcome.sizes]
        notes = "failed" if outcome.problem else ", ".join(f"{key}: {value}" for key, value in outcome.notes.items())
        table.add_row(
            printable(source.name), *sizes, f"{outcome.seconds:.1f}", "interrupted" if outcome.interrupted else notes
        )
    if len(outcomes) > len(shown[:SHOWN]):
        table.add_row(f"all {len(outcomes)}", "", "", f"{sum(each.seconds for _, each in outcomes):.1f}", "")
    if outcomes:
        Console().print(table)


def _start(ckpt_path: str, settings: dict[str, Any], writing: dict[str, Any], number: int) -> Worker:
    from restore.opening import open_restorer

    return functools.partial(_restore, open_restorer(ckpt_path, **settings), writing)


def _start_here(restorer: "Restorer", writing: dict[str, Any], number: int) -> Worker:
    return functools.partial(_restore, restorer, writing)


def _restore(restorer: "Restorer", writing: dict[str, Any], job: tuple[Path, Path], context: Context) -> Outcome:
    from restore import image
    from restore.restorers import Interrupted, restore_picture

    (source, target), started = job, time.perf_counter()

    def progress(done: int, total: int) -> None:
        context.report(f"{printable(source.name)}: {restorer.phase}", done, total)

    try:
        picture = restorer.read(source, metadata=writing["metadata"])
        image.refuse_unwritable(target, picture, scale=restorer.scale)
        restored = restore_picture(restorer, picture, progress=progress, cancel=context.cancel)
        image.write(target, restored, quality=writing["quality"])
    except Interrupted:
        return Outcome(interrupted=True)
    except (ValueError, OSError) as error:
        return Outcome(str(error) if str(source) in str(error) else f"{source}: {error}")
    sizes = (_size(picture), _size(restored))
    return Outcome(notes=dict(restorer.notes), sizes=sizes, seconds=time.perf_counter() - started)


def _size(picture: "Picture") -> tuple[int, int]:
    return picture.pixels.shape[1], picture.pixels.shape[2]


main = command(predict, "predict")

if __name__ == "__main__":
    main()
