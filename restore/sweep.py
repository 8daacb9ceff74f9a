"""What became of the points of a sweep: ``summary.md`` and ``summary.csv`` in its folder, and the exit status.

Hydra tells a callback when a point begins and ends, in whatever process that is; each point keeps its own record under
``points/``, and from these the summary is made. A point that fails is a failed trial; the others go on.
"""

import csv
import io
import json
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig

from restore import launch, run_folder
from restore.config.errors import USER_ERRORS, UserError, sentence

log = logging.getLogger(__name__)

COLUMNS = ("point", "status", "value", "message", "seconds", "folder")


class Points(Callback):
    """Keeps the records of a sweep's points.

    Attributes:
        begun: the sweep that this process has begun, to be summed up when it is over.
    """

    begun: ClassVar["Points | None"] = None

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.token = secrets.token_hex(4)  # tells this start of a sweep from earlier ones in the same folder
        self._began = 0.0

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the sweep's folder; the launchers take a copy of this to where the points are done."""
        self.folder = Path(config.hydra.sweep.dir).absolute()
        Points.begun = self

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        """A record without an end, in case there comes none."""
        self._began = time.time()
        if self._keeps(config):
            self._write(config, status="broken off", value=None, message="", seconds=0.0)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """The record with its value, or with what went wrong."""
        if not self._keeps(config):
            return
        seconds = time.time() - self._began
        # not return_value, which raises what it holds
        outcome: Any = job_return._return_value
        if job_return.status == JobStatus.COMPLETED:
            found = run_folder.result(Path(config.hydra.runtime.output_dir)) or {"seconds": seconds}
            self._write(config, status="finished", value=outcome, message="", seconds=found["seconds"])
            return
        message = sentence(outcome) if isinstance(outcome, USER_ERRORS) else f"{type(outcome).__name__}: {outcome}"
        log.error("failed: %s", message, exc_info=None if isinstance(outcome, USER_ERRORS) else outcome)
        self._write(config, status="failed", value=None, message=message, seconds=seconds)

    def _keeps(self, config: DictConfig) -> bool:
        return bool(config.hydra.mode == RunMode.MULTIRUN) and launch.place().rank == 0

    def _write(self, config: DictConfig, **facts: Any) -> None:
        assert self.folder is not None
        run = Path(config.hydra.runtime.output_dir)
        record = {"sweep": self.token, "overrides": list(config.hydra.overrides.task), "folder": run.name} | facts
        run_folder.write_text(self.folder / "points" / f"{run.name}.json", json.dumps(record) + "\n")


@contextmanager
def summed_up() -> Iterator[None]:
    """Write the summary of a sweep, if one was begun meanwhile.

    Raises:
        UserError: some points failed, in place of what the first of them raised.
    """
    Points.begun = None
    try:
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
    """Write both files; a sentence where points of this start have failed."""
    sweep, Points.begun = Points.begun, None
    if sweep is None or sweep.folder is None:
        return None
    records = [run_folder.read_mapping(path) for path in sorted((sweep.folder / "points").glob("*.json"))]
    if not records:  # the first point could not be composed
        return None
    rows = summary(records)
    run_folder.write_text(sweep.folder / "summary.csv", _csv(rows))
    run_folder.write_text(sweep.folder / "summary.md", _markdown(rows))
    log.info("all points: %s", sweep.folder / "summary.md")
    own = [record for record in records if record["sweep"] == sweep.token]
    failed = [record for record in own if record["status"] == "failed"]
    if not failed:
        return None
    return (
        f"{len(failed)} of {len(own)} points failed, see {sweep.folder / 'summary.md'}; the same command does them "
        "again and passes over the finished ones"
    )


def summary(records: list[dict[str, Any]]) -> list[dict[str, str]]:
    """A row for each point, called by the overrides that not all points share."""
    shared = set.intersection(*(set(record["overrides"]) for record in records)) if len(records) > 1 else set()
    return [
        {
            "point": " ".join(each for each in record["overrides"] if each not in shared) or record["folder"],
            "status": record["status"],
            "value": "" if record["value"] is None else f"{record['value']:.6g}",
            "message": " ".join(record["message"].split()),
            "seconds": f"{record['seconds']:.1f}",
            "folder": record["folder"],
        }
        for record in records
    ]


def _csv(rows: list[dict[str, str]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _markdown(rows: list[dict[str, str]]) -> str:
    cells = [[row[column].replace("|", "\\|") for column in COLUMNS[:-1]] for row in rows]
    lines = [list(COLUMNS[:-1]), ["---"] * (len(COLUMNS) - 1), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
