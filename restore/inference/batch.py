"""Restores many files, in one or several processes, and records how each result was made."""

import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from restore.distributed.process_pool import UNWATCHED, Context, Worker, spread
from restore.image.metadata import Metadata
from restore.inference.output_paths import RECORD, entries
from restore.io.files import as_json, printable, write_json
from restore.io.progress import show_progress
from restore.io.tables import Table, draw

if TYPE_CHECKING:
    from restore.image.decoded_image import DecodedImage
    from restore.inference.restorer import Restorer

log = logging.getLogger(__name__)

WRITE_EVERY = 1.0  # seconds between two writes of the record, whose size grows with the folder
OF_RESULT = ("notes", "fell_back")  # parts of an entry of the record that describe the result, not how it was made
SHOWN = 20  # files in the summary; if there are more, only those that failed or have a note

FileTask = tuple[Path, Path]  # source, target


class Record:
    """The record of how each file of an output folder was made, stored there as ``predict.json``.

    Files made with the same settings from the same input are not made again, so an interrupted run can continue.

    Args:
        settings: everything that a result depends on except its input, as plain values.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings: dict[str, Any] = as_json(dict(settings))
        self._known: dict[Path, dict[str, Any]] = {}
        self._unwritten: set[Path] = set()
        self._last = 0.0

    def holds(self, source: Path, target: Path) -> bool:
        """Whether ``target`` exists and was made from the present content of ``source``."""
        if not target.exists():
            return False
        entry = self._entries(target.parent).get(target.name, {})
        return {key: value for key, value in entry.items() if key not in OF_RESULT} == self._entry(source)

    def fell_back(self, target: Path) -> bool:
        """Whether a recorded file is bicubic instead of what was requested."""
        return bool(self._entries(target.parent)[target.name].get("fell_back", False))

    def add(self, source: Path, target: Path, notes: Mapping[str, str], *, fell_back: bool = False) -> None:
        """Add a finished file; written to disk within ``WRITE_EVERY`` seconds. Files lost by a kill are made again."""
        result = {"notes": dict(notes), "fell_back": fell_back}
        self._entries(target.parent)[target.name] = self._entry(source) | result
        self._unwritten.add(target.parent)
        if time.monotonic() > self._last + WRITE_EVERY:
            self.save()

    def save(self) -> None:
        """Write the entries that are not on disk yet."""
        for folder in self._unwritten:
            write_json(folder / RECORD, self._known[folder], indent=1)
        self._unwritten.clear()
        self._last = time.monotonic()

    def _entry(self, source: Path) -> dict[str, Any]:
        status = source.stat()
        return {"input": [str(source.resolve()), status.st_size, status.st_mtime_ns]} | self.settings

    def _entries(self, folder: Path) -> dict[str, Any]:
        if folder not in self._known:
            self._known[folder] = entries(folder / RECORD)
        return self._known[folder]


class Outcome(NamedTuple):
    """The outcome of one file.

    Attributes:
        problem: a sentence if it failed. notes: from the restorer. interrupted: nothing was written.
        sizes: (height, width) of the image and of the result. seconds: from reading to writing the file.
        fell_back: see :class:`restore.inference.restorer.Restorer`.
    """

    problem: str | None = None
    notes: Mapping[str, str] = MappingProxyType({})
    interrupted: bool = False
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None
    seconds: float = 0.0
    fell_back: bool = False


class Results(NamedTuple):
    """The outcome of many files.

    Attributes:
        failed: a sentence for each file that failed. fell_back: number of files that are bicubic instead of what was
            requested, including those of earlier starts.
    """

    failed: list[str]
    fell_back: int


@dataclass(frozen=True)
class FileRestorer:
    """Restores files with one restorer.

    Attributes:
        ckpt_path, settings: arguments of ``open_restorer``, to open the restorer again in another process.
        metadata: as for :func:`restore.image.reading.read`. quality: as for :func:`restore.image.writing.write`.
    """

    ckpt_path: str
    settings: Mapping[str, Any]
    metadata: Metadata
    quality: int | None

    def worker(self, restorer: "Restorer") -> Worker:
        """A function that restores a task (source, target) with this restorer."""
        return functools.partial(self.restore, restorer)

    def start(self) -> Worker:
        """The same in another process, where the restorer is opened again."""
        from restore.inference.load import open_restorer

        return self.worker(open_restorer(self.ckpt_path, **self.settings))

    def restore(self, restorer: "Restorer", task: FileTask, context: Context = UNWATCHED) -> Outcome:
        """Restore one file; its errors become part of the outcome instead of being raised."""
        from restore.image import writing
        from restore.image.decoded_image import DecodedImage
        from restore.inference.restorer import RestorationCancelled, restore_image

        (source, target), started = task, time.perf_counter()

        def progress(done: int, total: int) -> None:
            context.report(f"{printable(source.name)}: {restorer.phase}", done, total)

        try:
            image = restorer.read(source, metadata=self.metadata)
            written = DecodedImage(image.pixels) if restorer.makes_new_image else image  # opaque, without metadata
            writing.check_target(target, written, scale=restorer.scale)
            restored = restore_image(restorer, image, progress=progress, cancel=context.cancel)
            writing.write(target, restored, quality=self.quality)
        except RestorationCancelled:
            return Outcome(interrupted=True, seconds=time.perf_counter() - started)
        except (ValueError, OSError) as error:
            return Outcome(str(error) if str(source) in str(error) else f"{source}: {error}")
        sizes = (_size(image), _size(restored))
        seconds = time.perf_counter() - started
        return Outcome(notes=dict(restorer.notes), sizes=sizes, seconds=seconds, fell_back=restorer.fell_back)


def _size(image: "DecodedImage") -> tuple[int, int]:
    return image.pixels.shape[1], image.pixels.shape[2]


def restore_files(
    tasks: list[FileTask],
    files: FileRestorer,
    restorer: "Restorer",
    record: Record | None,
    *,
    processes: int,
    threads: int | None,
    stopped: Callable[[], bool],
) -> Results:
    """Restore each file that is not in the record; log and print a summary.

    Args:
        processes, threads: as for :func:`restore.distributed.process_pool.spread`. stopped: polled.
    """
    held = {task for task in tasks if record is not None and record.holds(*task)}
    waiting = [task for task in tasks if task not in held]
    outcomes: list[tuple[Path, Outcome]] = []
    try:
        with show_progress("images", len(waiting)) as (show, advance):
            for (source, target), outcome in spread(
                waiting,
                files.worker(restorer),
                files.start,
                processes=processes,
                threads=threads,
                cancel=stopped,
                show=show,
            ):
                outcomes.append((source, outcome))
                # an interrupted one is made again by the same command
                if record is not None and not (outcome.problem or outcome.interrupted or stopped()):
                    record.add(source, target, outcome.notes, fell_back=outcome.fell_back)
                advance()
    finally:
        if record is not None:
            record.save()
    if outcomes:
        draw(summary(outcomes))
    failed = [outcome.problem for _, outcome in outcomes if outcome.problem is not None]
    fell_back = sum(outcome.fell_back for _, outcome in outcomes)
    if record is not None:
        fell_back += sum(record.fell_back(target) for _, target in held)
    done, before = sum(outcome.sizes is not None for _, outcome in outcomes), len(held)
    where = f": {tasks[0][1] if record is None else tasks[0][1].parent}" if done + before else ""
    log.info("%d restored, %d were done before, %d failed%s", done, before, len(failed), where)
    if fell_back:
        log.warning(
            "bicubic was written instead of the requested method: %d of %d, see the notes", fell_back, done + before
        )
    return Results(failed, fell_back)


def summary(outcomes: list[tuple[Path, Outcome]]) -> Table:
    """One line per file; for more than ``SHOWN`` files, only those that failed or have a note, and the totals."""
    noteworthy = [(source, each) for source, each in outcomes if each.problem or each.notes]
    shown = (outcomes if len(outcomes) <= SHOWN else noteworthy)[:SHOWN]
    rows = [_line(source, outcome) for source, outcome in shown]
    if len(outcomes) > len(shown):
        rows.append([f"all {len(outcomes)}", "", "", f"{sum(each.seconds for _, each in outcomes):.1f}", ""])
    return Table("", ["file", "size", "result", "seconds", "notes"], rows)


def _line(source: Path, outcome: Outcome) -> list[str]:
    sizes = ["", ""] if outcome.sizes is None else [f"{width}x{height}" for height, width in outcome.sizes]
    notes = "failed" if outcome.problem else ", ".join(f"{key}: {value}" for key, value in outcome.notes.items())
    return [printable(source.name), *sizes, f"{outcome.seconds:.1f}", "interrupted" if outcome.interrupted else notes]
