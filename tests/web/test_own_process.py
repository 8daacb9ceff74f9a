"""A task in a process of its own is ended, whatever it does."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from restore.web import own_process


def add(report: own_process.Report, a: int, b: int) -> dict[str, Any]:
    report("adding", 1, 1)
    return {"sum": a + b, "process": os.getpid()}


def fail(report: own_process.Report, kind: str) -> dict[str, Any]:
    if kind == "value":
        raise ValueError("scale is 0")
    if kind == "problem":
        raise own_process.Problem("too large", 413)
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def hang(report: own_process.Report, marker: str) -> dict[str, Any]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(marker).write_text(str(os.getpid()))
    time.sleep(600)
    return {}


def run(task: Any, *arguments: Any, cancelled: Any = lambda: False, timeout: float = 60, report: Any = print) -> Any:
    processes = multiprocessing.get_context("fork")  # the quick way; the rest is the same
    return own_process.run(processes, task, *arguments, report=report, cancelled=cancelled, timeout=timeout)


def test_a_result_and_reports_come_back() -> None:
    seen: list[Any] = []
    result = run(add, 2, 3, report=lambda *report: seen.append(report))
    assert result["sum"] == 5
    assert result["process"] != os.getpid()
    assert seen == [("adding", 1, 1)]


def test_problems_come_back_as_sentences() -> None:
    with pytest.raises(own_process.Problem, match="scale is 0") as problem:
        run(fail, "value")
    assert problem.value.status == 422
    with pytest.raises(own_process.Problem, match="too large") as problem:
        run(fail, "problem")
    assert problem.value.status == 413


def test_a_crash_is_told_apart() -> None:
    with pytest.raises(own_process.Ended) as ended:
        run(fail, "crash")
    assert ended.value.reason == "died"


@pytest.mark.parametrize("reason", ["timeout", "cancelled"])
def test_a_stuck_task_is_ended(reason: str, tmp_path: Path) -> None:
    marker = tmp_path / "began"
    began = marker.exists
    with pytest.raises(own_process.Ended) as ended:
        run(hang, str(marker), cancelled=began if reason == "cancelled" else lambda: False, timeout=1.5)
    assert ended.value.reason == reason
    if reason == "cancelled":
        with pytest.raises(ProcessLookupError):
            os.kill(int(marker.read_text() or 0), 0)
