"""Files of a sweep: one record per point, the request to stop, and the summary of the records."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from restore.io import files, tables
from restore.io.tables import Table

COLUMNS = ("point", "status", "value", "message", "seconds", "folder")
UNFINISHED = ("failed", "interrupted")


@dataclass(frozen=True)
class PointRecord:
    """State and result of one point.

    Attributes:
        sweep: token of the sweep's start that last ran the point. number: the point's index in the sweep.
        overrides: words of its command line. folder: name of its run folder.
        status: ``finished``, or one of ``UNFINISHED``.
        value: the monitored value. message: why the point is unfinished. seconds: training time.
        ended: false while the point runs.
    """

    sweep: str
    number: int
    overrides: Sequence[str]
    folder: str
    status: str
    value: float | None = None
    message: str = ""
    seconds: float | None = None
    ended: bool = True


class PointRecords:
    """The records in ``points/`` of a sweep's folder.

    Args:
        folder: the sweep's folder.
        token: distinguishes this start of the sweep from earlier ones in the same folder.
    """

    def __init__(self, folder: Path, token: str) -> None:
        self.folder, self.token = folder, token
        self._stop_file = folder / "points" / f"end_{token}"

    def write(self, record: PointRecord) -> None:
        """Write a point's record, replacing an earlier one."""
        files.write_json(self.folder / "points" / f"{record.folder}.json", asdict(record))

    def read(self) -> list[PointRecord]:
        """Records of all points in the folder, ordered as in the sweep that last ran them."""
        found = [PointRecord(**files.read_mapping(path)) for path in (self.folder / "points").glob("*.json")]
        return sorted(found, key=lambda record: (record.number, record.overrides))

    def running(self) -> list[Path]:
        """Run folders of the points of this start that have not ended."""
        own = [record for record in self.read() if record.sweep == self.token]
        return [self.folder / record.folder for record in own if not record.ended]

    def request_stop(self, number: int) -> None:
        """Ask the points of this start, in every process, to stop as if they had received signal ``number``."""
        files.write_text(self._stop_file, str(int(number)))

    def requested_stop(self) -> int:
        """Number of the signal in the request to stop, or 0."""
        return int(self._stop_file.read_text()) if self._stop_file.exists() else 0

    def clear_stop(self) -> None:
        """Remove the request to stop."""
        self._stop_file.unlink(missing_ok=True)

    def write_summary(self) -> str | None:
        """Write ``summary.csv`` and ``summary.md`` if there are records.

        Returns:
            A sentence if points of this start are unfinished, else None.
        """
        records = self.read()
        if not records:  # the configuration of the first point was invalid
            return None
        table = summary(records)
        files.write_text(self.folder / "summary.csv", tables.comma_separated(table))
        files.write_text(self.folder / "summary.md", tables.markdown(table))
        own = [record.status for record in records if record.sweep == self.token]
        unfinished = " and ".join(f"{own.count(status)} {status}" for status in UNFINISHED if status in own)
        if not unfinished:
            return None
        return (
            f"of {len(own)} points: {unfinished}; see {self.folder / 'summary.md'}; the same command runs them again "
            "and skips the finished ones"
        )


def summary(records: Sequence[PointRecord]) -> Table:
    """One row per point, named by the overrides that differ between points."""
    shared = set.intersection(*(set(record.overrides) for record in records)) if len(records) > 1 else set[str]()
    rows = [
        [
            " ".join(each for each in record.overrides if each not in shared) or record.folder,
            record.status,
            "" if record.value is None else f"{float(record.value):.6g}",
            " ".join(record.message.split()),
            "" if record.seconds is None else f"{record.seconds:.1f}",
            record.folder,
        ]
        for record in records
    ]
    return Table("", COLUMNS, rows)
