"""``restore predict``: file, folder or glob in, restored pictures out."""

import functools
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from restore.config.command import command
from restore.config.errors import UserError
from restore.config.inference_settings import inference_settings
from restore.distributed.process_pool import Context, Worker, showing, spread
from restore.distributed.signals import stopping
from restore.inference.output_paths import RECORD, entries, plan
from restore.io.files import refuse_unwritable, write_text
from restore.io.names import printable

if TYPE_CHECKING:
    from restore.image.picture import Picture
    from restore.inference.restorer import Restorer

log = logging.getLogger(__name__)

WRITE_EVERY = 1.0  # seconds between two writings of the record, which grows with the folder
SHOWN = 20  # files in the summary; of more, those with something to say


def predict(cfg: DictConfig) -> None:
    """Restore every picture; bad ones are reported and the others go on."""
    from restore.inference.load import open_restorer

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


class Record:
    """How each file of an output folder was made, kept there as ``predict.json``.

    A file made with the same settings from the same input is not made again, so an interrupted folder goes on.
    """

    def __init__(self, cfg: DictConfig) -> None:
        from restore.models.loading import sha256

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
            self._known[folder] = entries(folder / RECORD)
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
    options = {"metadata": cfg.metadata, "quality": cfg.quality}
    start: Callable[[int], Worker]
    if cfg.devices == 1 or len(waiting) < 2:  # in this process
        start = functools.partial(_start_here, restorer, options)
    else:
        start = functools.partial(_start, cfg.ckpt_path, inference_settings(cfg), options)
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


def _start(ckpt_path: str, settings: dict[str, Any], options: dict[str, Any], number: int) -> Worker:
    from restore.inference.load import open_restorer

    return functools.partial(_restore, open_restorer(ckpt_path, **settings), options)


def _start_here(restorer: "Restorer", options: dict[str, Any], number: int) -> Worker:
    return functools.partial(_restore, restorer, options)


def _restore(restorer: "Restorer", options: dict[str, Any], job: tuple[Path, Path], context: Context) -> Outcome:
    from restore.image import writing
    from restore.inference.restorer import Interrupted, restore_picture

    (source, target), started = job, time.perf_counter()

    def progress(done: int, total: int) -> None:
        context.report(f"{printable(source.name)}: {restorer.phase}", done, total)

    try:
        picture = restorer.read(source, metadata=options["metadata"])
        writing.refuse_unwritable(target, picture, scale=restorer.scale)
        restored = restore_picture(restorer, picture, progress=progress, cancel=context.cancel)
        writing.write(target, restored, quality=options["quality"])
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
