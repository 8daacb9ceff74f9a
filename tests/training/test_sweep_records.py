"""Records of a sweep's points, the request to stop, and the summary."""

import csv
import signal
from pathlib import Path

from restore.training.sweep_records import PointRecord, PointRecords


def record(number: int, status: str = "finished", *, sweep: str = "new", ended: bool = True) -> PointRecord:
    value = 30.0 + number if status == "finished" else None
    message = "" if status == "finished" else "why\nnot"
    return PointRecord(
        sweep, number, ["name=s", f"seed={number}"], f"seed={number}", status, value, message, 1.0, ended
    )


def test_the_summary_names_points_by_what_differs_and_counts_those_of_this_start(tmp_path: Path) -> None:
    records = PointRecords(tmp_path, "new")
    assert records.write_summary() is None
    assert not (tmp_path / "summary.md").exists()
    for each in (record(2, "failed"), record(10), record(1), record(3, "interrupted", sweep="old")):
        records.write(each)
    said = records.write_summary()
    assert said is not None
    assert "of 3 points: 1 failed;" in said
    header, *rows = csv.reader((tmp_path / "summary.csv").open())
    assert header == ["point", "status", "value", "message", "seconds", "folder"]
    assert [row[:4] for row in rows] == [
        ["seed=1", "finished", "31", ""],
        ["seed=2", "failed", "", "why not"],
        ["seed=3", "interrupted", "", "why not"],
        ["seed=10", "finished", "40", ""],
    ]


def test_running_points_and_requests_are_those_of_one_start(tmp_path: Path) -> None:
    records, other = PointRecords(tmp_path, "new"), PointRecords(tmp_path, "old")
    records.write(record(1, "interrupted", ended=False))
    records.write(record(2))
    other.write(record(3, "interrupted", sweep="old", ended=False))
    assert records.running() == [tmp_path / "seed=1"]
    records.request_stop(signal.SIGTERM)
    assert (records.requested_stop(), other.requested_stop()) == (signal.SIGTERM, 0)
    records.clear_stop()
    records.clear_stop()
    assert records.requested_stop() == 0
