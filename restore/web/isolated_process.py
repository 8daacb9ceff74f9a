"""Runs a task in its own process, which can be killed whatever it does to memory and time.

Processes are forked from a server process that has imported the heavy libraries without using them, so a job starts at
once and an accelerator works in each process; without fork, new processes are started. Results are JSON, so a process
that a hostile image has taken over cannot send anything that would run here.
"""

import json
import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from restore.io.files import json_text

PRELOADED = ["restore.config.inference", "restore.inference.load", "restore.web.worker"]  # before any task
POLL_EVERY = 0.1  # seconds between checks for a result, a cancellation or the timeout
MAX_BYTES = 10_000_000  # of a message; enough for the cards of several hundred checkpoints

ReportProgress = Callable[[str, int, int], None]  # phase, pieces done, total pieces


class TaskEnded(Exception):
    """A task ended without a result: it was cancelled, timed out, or its process died.

    Attributes:
        reason: ``cancelled``, ``timeout`` or ``died``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TaskError(Exception):
    """A task failed for a reason that the client may see.

    Attributes:
        sentence: the reason. status: HTTP status.
    """

    def __init__(self, sentence: str, status: int = 422) -> None:
        super().__init__(sentence)
        self.sentence, self.status = sentence, status


def context() -> Any:
    """The multiprocessing context that starts the processes."""
    known = multiprocessing.get_all_start_methods()
    chosen = multiprocessing.get_context("forkserver" if "forkserver" in known else "spawn")
    if "forkserver" in known:
        chosen.set_forkserver_preload(PRELOADED)
    return chosen


def run(
    processes: Any,
    task: Callable[..., dict[str, Any]],
    *arguments: Any,
    report: ReportProgress,
    cancelled: Callable[[], bool],
    timeout: float,
) -> dict[str, Any]:
    """Run ``task(report, *arguments)`` in its own process, which has always ended when this function returns.

    Args:
        processes: from :func:`context`. task: a module-level function; its result must be JSON-serialisable.
        cancelled: polled. timeout: in seconds.

    Raises:
        TaskError: raised by the task. TaskEnded: the task ended without a result.
    """
    ours, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=_begin, args=(theirs, task, arguments), daemon=True)
    deadline = time.monotonic() + timeout
    try:
        process.start()
        theirs.close()
        while True:
            if cancelled():
                raise TaskEnded("cancelled")
            if time.monotonic() > deadline:
                raise TaskEnded("timeout")
            if ours.poll(POLL_EVERY):
                message = _parse(ours.recv_bytes(MAX_BYTES))
                if isinstance(message, dict):
                    return message
                report(*message)
    except (EOFError, OSError) as error:
        raise TaskEnded("died") from error
    finally:
        if process.pid is not None:
            process.kill()
            process.join()
        process.close()
        ours.close()


def _parse(message: bytes) -> dict[str, Any] | tuple[str, int, int]:
    """Parse a result or a progress report; a process that sends anything else counts as dead.

    Raises:
        TaskError: the message reports one. TaskEnded: the message is malformed.
    """
    try:
        said = json.loads(message)
        if "result" in said:
            return dict(said["result"])
        if "problem" in said:
            problem = TaskError(str(said["problem"]), int(said["status"]))
            if not 400 <= problem.status < 500:
                raise ValueError(f"status is {problem.status}")
        else:
            return str(said["phase"]), int(said["done"]), int(said["total"])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise TaskEnded("died") from error
    raise problem


def _begin(channel: Connection, task: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> None:
    """Main function of the process; an unexpected error ends it with a traceback, and the caller sees that it died."""
    from restore.config.errors import USER_ERRORS

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server handles Ctrl-C, and kills this process
    last = 0.0

    def send(**message: Any) -> None:
        channel.send_bytes(json_text(message).encode())

    def report(phase: str, done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() > last + POLL_EVERY:
            last = time.monotonic()
            send(phase=phase, done=done, total=total)

    try:
        send(result=task(report, *arguments))
    except TaskError as problem:
        send(problem=problem.sentence, status=problem.status)
    except USER_ERRORS as error:
        send(problem=str(error), status=422)
