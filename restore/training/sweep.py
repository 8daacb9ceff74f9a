"""Sweeps: a Hydra callback that records each point, and how a sweep and its points stop.

Hydra calls the callback when a point begins and ends, in the process that runs the point. The summary is made from the
records of all points. A point that fails is recorded as failed, and the sweep continues. A sweep that is asked to stop
writes a stop request to a file, which the points in other processes of this machine read, and waits for those points.
"""

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
from typing import Any, ClassVar, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from restore.config.errors import USER_ERRORS, UserError, sentence
from restore.distributed.environment import process_info
from restore.distributed.process_identity import ProcessIdentity
from restore.distributed.signals import ASKING, handled, requeue
from restore.io import files
from restore.runs import folder as run_folder
from restore.training.launcher import AFTER_SIGNAL
from restore.training.sweep_names import name_by_swept
from restore.training.sweep_records import PointRecord, PointRecords

log = logging.getLogger(__name__)

GRACE = 5.0  # seconds for the points to write their records after no process holds the lock of a run folder any more


class PointStopped(Exception):
    """A point was asked to stop; the same command resumes it."""


class FailedPoint(JobReturn):
    """The result of a failed point: reading its value raises the error, without the extra line that Hydra prints."""

    @property
    def return_value(self) -> NoReturn:
        """Raise the error."""
        raise self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


class Points(Callback):
    """Writes the records of a sweep's points.

    Attributes:
        begun: the sweep that this process started, to be summarised at its end.
        current: the sweep whose points this process runs.
        made: of a run without a sweep, the folders above the run folder that it makes, the innermost first.
    """

    begun: ClassVar["Points | None"] = None
    current: ClassVar["Points | None"] = None
    made: ClassVar[list[Path]] = []

    def __init__(self) -> None:
        self.records = PointRecords(Path(), secrets.token_hex(4))
        self._machine, self._process = socket.gethostname(), ProcessIdentity.of(os.getpid())
        self._are_slurm_jobs = False  # Slurm jobs outlive the sweep that submitted them
        self._point: DictConfig | None = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the folders that Hydra is about to make, so that a refused run can remove them."""
        hydra_config = HydraConfig.instance()
        before = hydra_config.cfg
        try:
            hydra_config.set_config(config)  # the folder may be named by settings of Hydra
            Points.made = run_folder.missing_above(Path(config.hydra.run.dir))
        except OmegaConfBaseException:  # Hydra reads the name next, and raises it then
            Points.made = []
        finally:
            hydra_config.cfg = before

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the sweep's folder; launchers pickle this object for the processes that run the points."""
        if config.hydra.job.config_name != "fit":  # `restore check -m` has the same settings but trains no points
            return
        self.records = PointRecords(Path(config.hydra.sweep.dir).absolute(), self.records.token)
        self._are_slurm_jobs = str(config.hydra.launcher._target_).endswith(".SlurmLauncher")
        Points.begun = self
        name_by_swept(config, self.records.read())

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        """Write a record without an end, which remains if the point is killed."""
        is_first, Points.current, self._point = Points.current is None, self, config
        if _has_record(config):
            if is_first and is_in_other_process() and not is_own_job():
                threading.Thread(target=_exit_after_sweep, daemon=True).start()
            self._write(config, "interrupted", message="it did not finish", ended=False)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Write the point's value, or the reason why it has none."""
        if _has_record(config):
            self._write_end(config, job_return)
        if config.hydra.mode == RunMode.MULTIRUN and job_return.status == JobStatus.FAILED:
            job_return.__class__ = FailedPoint
        self._point = None

    def _write_end(self, config: DictConfig, job_return: JobReturn) -> None:
        # job_return.return_value would raise the stored exception
        value: Any = job_return._return_value
        if job_return.status == JobStatus.COMPLETED:
            seconds = run_folder.finished(Path(config.hydra.runtime.output_dir))["seconds"]
            self._write(config, "finished", value=value, seconds=seconds)
            return
        if isinstance(value, PointStopped):
            self._write(config, "interrupted", message=str(value))
            return
        is_users = isinstance(value, USER_ERRORS)
        message = sentence(value, config) if is_users else f"{type(value).__name__}: {value}"
        log.error("failed: %s", message, exc_info=None if is_users else value)
        self._write(config, "failed", message=message)

    def _write(self, config: DictConfig, status: str, **facts: Any) -> None:
        folder = Path(config.hydra.runtime.output_dir).name
        overrides = list(config.hydra.overrides.task)
        self.records.write(PointRecord(self.records.token, config.hydra.job.num, overrides, folder, status, **facts))

    def write_stop(self, message: str) -> None:
        """Write why this process's point stops, when the whole process stops and Hydra will not call ``on_job_end``."""
        if self._point is not None and _has_record(self._point):
            self._write(self._point, "interrupted", message=message)

    def requested_stop(self) -> int:
        """The signal that stopped the sweep, SIGTERM if the sweep is known to be killed, or 0."""
        if is_own_job():
            return 0
        return signal.SIGTERM if self.was_killed() else self.records.requested_stop()

    @property
    def is_running_point(self) -> bool:
        """Whether this process is running a point."""
        return self._point is not None

    def was_killed(self) -> bool:
        """Whether the sweep's process is gone; false on another machine, which cannot tell."""
        return self._machine == socket.gethostname() and not self._process.is_alive()

    def stop(self, number: int) -> NoReturn:
        """Stop the points that run in other processes, wait until they have saved, and end the sweep.

        Args:
            number: number of the signal.
        """
        runs_no_point = Points.current is None and not self._are_slurm_jobs
        if runs_no_point and not self.records.requested_stop():  # on a second signal, do not wait
            log.warning("interrupted by %s; ends as soon as all points have saved", signal.Signals(number).name)
            self.records.request_stop(number)
            self._wait_for_points()
        requeue(number)
        _exit(number, "Start the same command again to continue all points")

    def _wait_for_points(self) -> None:
        latest, grace = time.monotonic() + AFTER_SIGNAL, time.monotonic() + GRACE
        while (running := self.records.running()) and time.monotonic() < min(latest, grace):
            if any(files.is_locked(folder) for folder in running):
                grace = time.monotonic() + GRACE
            time.sleep(0.2)


def _has_record(config: DictConfig) -> bool:
    """Whether this process writes the record of a point of ``fit``; only the first process of its training does."""
    is_point = config.hydra.mode == RunMode.MULTIRUN and config.hydra.job.config_name == "fit"
    return is_point and process_info().rank == 0


def is_own_job() -> bool:
    """Whether this process belongs to a Slurm job for one point, which outlives the sweep that submitted it."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


def is_in_other_process() -> bool:
    """Whether this point runs in a different process from the sweep."""
    return Points.begun is None


def requested_stop() -> int:
    """The signal that stopped the sweep of this process's point, or 0."""
    return 0 if Points.current is None or not is_in_other_process() else Points.current.requested_stop()


def _exit_after_sweep() -> None:
    """End a worker process of Hydra's launcher after its point if the sweep is gone; it would wait for more points."""
    while Points.current is None or Points.current.is_running_point or not Points.current.was_killed():
        time.sleep(1)
    os._exit(128 + signal.SIGTERM)


def _on_signal(number: int, frame: Any) -> NoReturn:
    if Points.begun is not None:
        Points.begun.stop(number)
    _exit(number, "")


def _exit(number: int, remedy: str) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt(remedy)
    raise SystemExit(128 + number)


@contextmanager
def summarised() -> Iterator[None]:
    """Write the summary of a sweep that starts within the block.

    Raises:
        UserError: some points failed or were interrupted; replaces the error of the first of them.
    """
    Points.begun = Points.current = None
    Points.made = []
    try:
        with handled(_on_signal, ASKING):
            yield
    except Exception as error:
        unfinished = _summarise()
        if unfinished is None:
            raise
        raise UserError(unfinished) from error
    except BaseException:
        _summarise()
        raise
    unfinished = _summarise()
    if unfinished is not None:
        raise UserError(unfinished)


def _summarise() -> str | None:
    """Write the summary; return a sentence if points of this start are unfinished."""
    sweep, Points.begun = Points.begun, None
    if sweep is None:
        return None
    sweep.records.clear_stop()
    unfinished = sweep.records.write_summary()
    if (sweep.records.folder / "summary.md").exists():
        log.info("summary of all points: %s", sweep.records.folder / "summary.md")
    return unfinished
