"""What became of the points of a sweep: ``summary.md`` and ``summary.csv`` in its folder, and the exit status.

Hydra tells a callback when a point begins and ends, in whatever process that is; each point keeps its own record under
``points/``, and from these the summary is made. A point that fails is a failed trial; the others go on. A sweep that is
asked to end asks the points that other processes of this machine are at, by a file, and waits for them.
"""

import json
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig

from restore.config.errors import USER_ERRORS, UserError, sentence
from restore.distributed.environment import own_place
from restore.distributed.signals import ASKING, handled, requeue
from restore.io import files, tables
from restore.io.tables import Table
from restore.runs import folder as run_folder
from restore.training.launcher import AFTER_SIGNAL

log = logging.getLogger(__name__)

COLUMNS = ("point", "status", "value", "message", "seconds", "folder")
UNFINISHED = ("failed", "broken off")
LAST_WORDS = 5.0  # seconds that a point gets for its record, once nobody is at work in its folder


class BrokenOff(Exception):
    """A point was asked to end; the same command goes on with it."""


class Process(NamedTuple):
    """A process, told from a later one of the same number by when it was started, where the system says so."""

    number: int
    started: str

    @classmethod
    def of(cls, number: int) -> "Process":
        """The one that has this number now."""
        return cls(number, _facts(number)[1])

    def is_alive(self) -> bool:
        """Whether it is still there, and more than a number that waits to be collected."""
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # somebody else's by now
            return False
        state, started = _facts(self.number)
        return state not in ("Z", "X") and started == self.started


def _facts(number: int) -> tuple[str, str]:
    """State and time of start, as Linux has them under ``/proc``; empty elsewhere."""
    try:
        after_name = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return after_name[0], after_name[19]


class Points(Callback):
    """Keeps the records of a sweep's points.

    Attributes:
        begun: the sweep that this process has begun, to be summed up when it is over.
        current: the sweep whose points this process does.
    """

    begun: ClassVar["Points | None"] = None
    current: ClassVar["Points | None"] = None

    def __init__(self) -> None:
        self.folder = Path()
        self.token = secrets.token_hex(4)  # tells this start of a sweep from earlier ones in the same folder
        self._machine, self._process = socket.gethostname(), Process.of(os.getpid())
        self._are_jobs = False  # of Slurm's, which outlive the sweep that handed them in
        self._point: DictConfig | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the sweep's folder; the launchers take a copy of this to where the points are done."""
        if config.hydra.job.config_name != "fit":  # `restore check -m` has the same settings, and no points
            return
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self._are_jobs = str(config.hydra.launcher._target_).endswith(".SlurmLauncher")
        Points.begun = self

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        """A record without an end, in case there comes none."""
        is_first, Points.current, self._point = Points.current is None, self, config
        if self._keeps(config):
            if is_first and is_elsewhere() and not is_own_job():
                threading.Thread(target=_end_with_the_sweep, daemon=True).start()
            self._write(config, "broken off", message="it did not come to its end", ended=False)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """The record with its value, or with what went wrong."""
        if self._keeps(config):
            self._note_outcome(config, job_return)
        self._point = None

    def _note_outcome(self, config: DictConfig, job_return: JobReturn) -> None:
        # not return_value, which raises what it holds
        outcome: Any = job_return._return_value
        if job_return.status == JobStatus.COMPLETED:
            seconds = run_folder.finished(Path(config.hydra.runtime.output_dir))["seconds"]
            self._write(config, "finished", value=outcome, seconds=seconds)
            return
        if isinstance(outcome, BrokenOff):
            self._write(config, "broken off", message=str(outcome))
            return
        message = sentence(outcome) if isinstance(outcome, USER_ERRORS) else f"{type(outcome).__name__}: {outcome}"
        log.error("failed: %s", message, exc_info=None if isinstance(outcome, USER_ERRORS) else outcome)
        self._write(config, "failed", message=message)

    def note_end(self, message: str) -> None:
        """Keep why the point ends that this process is at, where it takes the sweep along and there comes no end."""
        if self._point is not None and self._keeps(self._point):
            self._write(self._point, "broken off", message=message)

    def told_to_end(self) -> int:
        """The signal that ended the sweep, also where it was killed, as the points on its machine see it; or 0."""
        if is_own_job():
            return 0
        if self.was_killed():
            return signal.SIGTERM
        return int(self._end_file.read_text()) if self._end_file.exists() else 0

    @property
    def is_at_work(self) -> bool:
        """Whether this process is at a point of the sweep."""
        return self._point is not None

    def was_killed(self) -> bool:
        """Whether the sweep's process is gone, as far as this machine can tell."""
        return self._machine == socket.gethostname() and not self._process.is_alive()

    def end_points(self, number: int) -> NoReturn:
        """End the points that other processes are at, wait until they have saved, and end the sweep.

        Args:
            number: of the signal that asks for it.
        """
        are_elsewhere = Points.current is None and not self._are_jobs
        if are_elsewhere and not self._end_file.exists():  # a second signal does not wait
            log.warning("ended by %s, as soon as the points have saved", signal.Signals(number).name)
            files.write_text(self._end_file, str(int(number)))
            self._wait()
        requeue(number)
        _end(number, "Start the same command again to go on with all points")

    def _wait(self) -> None:
        latest, patience = time.monotonic() + AFTER_SIGNAL, time.monotonic() + LAST_WORDS
        while self._open() and time.monotonic() < min(latest, patience):
            if any(files.is_locked(folder) for folder in self._open()):
                patience = time.monotonic() + LAST_WORDS
            time.sleep(0.2)

    def records(self) -> list[dict[str, Any]]:
        """Of all points in the folder, in the order of the sweep that did them last."""
        found = [files.read_mapping(path) for path in (self.folder / "points").glob("*.json")]
        return sorted(found, key=lambda record: (record["number"], record["overrides"]))

    def forget_end(self) -> None:
        """Remove what asked the points to end."""
        self._end_file.unlink(missing_ok=True)

    @property
    def _end_file(self) -> Path:
        return self.folder / "points" / f"end_{self.token}"

    def _open(self) -> list[Path]:
        """Folders of the points of this start that have not come to an end."""
        own = [record for record in self.records() if record["sweep"] == self.token]
        return [self.folder / record["folder"] for record in own if not record["ended"]]

    def _keeps(self, config: DictConfig) -> bool:
        is_point = config.hydra.mode == RunMode.MULTIRUN and config.hydra.job.config_name == "fit"
        return is_point and own_place().rank == 0

    def _write(
        self,
        config: DictConfig,
        status: str,
        *,
        value: float | None = None,
        message: str = "",
        seconds: float | None = None,
        ended: bool = True,
    ) -> None:
        run = Path(config.hydra.runtime.output_dir)
        record = {
            "sweep": self.token,
            "number": config.hydra.job.num,
            "overrides": list(config.hydra.overrides.task),
            "folder": run.name,
            "status": status,
            "value": value,
            "message": message,
            "seconds": seconds,
            "ended": ended,
        }
        files.write_text(self.folder / "points" / f"{run.name}.json", json.dumps(record) + "\n")


def is_own_job() -> bool:
    """Whether this process is a job of Slurm's for one point, which outlives the sweep that handed it in."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


def is_elsewhere() -> bool:
    """Whether this point is done by another process than that of the sweep."""
    return Points.begun is None


def told_to_end() -> int:
    """The signal that ended the sweep of the point that this process is at, or 0."""
    return 0 if Points.current is None or not is_elsewhere() else Points.current.told_to_end()


def _end_with_the_sweep() -> None:
    """End a launcher's worker behind its point: it would wait for more from a sweep that is no more."""
    while Points.current is None or Points.current.is_at_work or not Points.current.was_killed():
        time.sleep(1)
    os._exit(128 + signal.SIGTERM)


def _on_signal(number: int, frame: Any) -> NoReturn:
    if Points.begun is not None:
        Points.begun.end_points(number)
    _end(number, "")


def _end(number: int, remedy: str) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt(remedy)
    raise SystemExit(128 + number)


@contextmanager
def summed_up() -> Iterator[None]:
    """Write the summary of a sweep, if one was begun meanwhile.

    Raises:
        UserError: some points failed or were broken off, in place of what the first of them raised.
    """
    Points.begun = Points.current = None
    try:
        with handled(_on_signal, ASKING):
            yield
    except Exception as error:
        failed = _sum_up()
        if failed is None:
            raise
        raise UserError(failed) from error
    except BaseException:
        _sum_up()
        raise
    failed = _sum_up()
    if failed is not None:
        raise UserError(failed)


def _sum_up() -> str | None:
    """Write both files; a sentence where points of this start came to no good end."""
    sweep, Points.begun = Points.begun, None
    if sweep is None:
        return None
    sweep.forget_end()
    records = sweep.records()
    if not records:  # the first point could not be composed
        return None
    table = summary(records)
    files.write_text(sweep.folder / "summary.csv", tables.comma_separated(table))
    files.write_text(sweep.folder / "summary.md", tables.markdown(table))
    log.info("all points: %s", sweep.folder / "summary.md")
    own = [record for record in records if record["sweep"] == sweep.token]
    counts = {status: sum(record["status"] == status for record in own) for status in UNFINISHED}
    if not any(counts.values()):
        return None
    words = " and ".join(f"{count} {status}" for status, count in counts.items() if count)
    return (
        f"of {len(own)} points: {words}; see {sweep.folder / 'summary.md'}; the same command does them "
        "again and passes over the finished ones"
    )


def summary(records: list[dict[str, Any]]) -> Table:
    """A row for each point, called by the overrides that not all points share."""
    shared = set.intersection(*(set(record["overrides"]) for record in records)) if len(records) > 1 else set()
    rows = [
        [
            " ".join(each for each in record["overrides"] if each not in shared) or record["folder"],
            record["status"],
            "" if record["value"] is None else f"{record['value']:.6g}",
            " ".join(record["message"].split()),
            "" if record["seconds"] is None else f"{record['seconds']:.1f}",
            record["folder"],
        ]
        for record in records
    ]
    return Table("", COLUMNS, rows)
