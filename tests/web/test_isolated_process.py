"""A task in a process of its own is ended, whatever it does."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from restore.web import isolated_process


def add(report: isolated_process.ReportProgress, a: int, b: int) -> dict[str, Any]:
    report("adding", 1, 1)
    return {"sum": a + b, "process": os.getpid()}


def fail(report: isolated_process.ReportProgress, kind: str) -> dict[str, Any]:
    if kind == "value":
        raise ValueError("scale is 0")
    if kind == "problem":
        raise isolated_process.TaskError("too large", 413)
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def babble(report: isolated_process.ReportProgress, message: bytes) -> dict[str, Any]:
    """What a process that was taken over may say, past what it was told to use."""
    code = isolated_process._begin.__code__
    frame = sys._getframe()
    while frame.f_code is not code:
        assert frame.f_back is not None
        frame = frame.f_back
    frame.f_locals["channel"].send_bytes(message)
    time.sleep(600)
    return {}


def hang(report: isolated_process.ReportProgress, marker: str) -> dict[str, Any]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(marker).write_text(str(os.getpid()))
    time.sleep(600)
    return {}


def run(task: Any, *arguments: Any, cancelled: Any = lambda: False, timeout: float = 60, report: Any = print) -> Any:
    processes = multiprocessing.get_context("fork")  # the quick way; the rest is the same
    return isolated_process.run(processes, task, *arguments, report=report, cancelled=cancelled, timeout=timeout)


def test_a_result_and_reports_come_back() -> None:
    seen: list[Any] = []
    result = run(add, 2, 3, report=lambda *report: seen.append(report))
    assert result["sum"] == 5
    assert result["process"] != os.getpid()
    assert seen == [("adding", 1, 1)]


def test_problems_come_back_as_sentences() -> None:
    with pytest.raises(isolated_process.TaskError, match="scale is 0") as problem:
        run(fail, "value")
    assert problem.value.status == 422
    with pytest.raises(isolated_process.TaskError, match="too large") as problem:
        run(fail, "problem")
    assert problem.value.status == 413


def test_a_crash_is_told_apart() -> None:
    with pytest.raises(isolated_process.TaskEnded) as ended:
        run(fail, "crash")
    assert ended.value.reason == "died"


@pytest.mark.parametrize(
    "message",
    [
        b"no JSON",
        b"\xff",
        b"5",
        b"[]",
        b"[" * 100_000,
        b"{}",
        b'{"phase": "a"}',
        b'{"phase": "a", "done": [], "total": 1}',
        b'{"phase": "a", "done": Infinity, "total": 1}',
        b'{"result": 5}',
        b'{"result": "ab"}',
        b'{"problem": "a"}',
        b'{"problem": "a", "status": "b"}',
        b'{"problem": "a", "status": 200}',
    ],
)
def test_a_process_that_babbles_counts_as_dead(message: bytes) -> None:
    with pytest.raises(isolated_process.TaskEnded) as ended:
        run(babble, message)
    assert ended.value.reason == "died"


@pytest.mark.parametrize("reason", ["timeout", "cancelled"])
def test_a_stuck_task_is_ended(reason: str, tmp_path: Path) -> None:
    marker = tmp_path / "began"

    def began() -> bool:
        return marker.exists() and marker.read_text() != ""

    with pytest.raises(isolated_process.TaskEnded) as ended:
        run(hang, str(marker), cancelled=began if reason == "cancelled" else lambda: False, timeout=1.5)
    assert ended.value.reason == reason
    if reason == "cancelled":
        with pytest.raises(ProcessLookupError):
            os.kill(int(marker.read_text()), 0)
