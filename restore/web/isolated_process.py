"""A task in a process of its own, which can be ended whatever it does to memory and time.

Processes are forked from a server process that has imported the heavy libraries and has not used them, so that a job
starts at once and an accelerator works in each; where there is no fork, fresh ones are started. Results are JSON, so
that a process under the control of a hostile image can send nothing that would run here.
"""

import json
import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from restore.io.files import json_text

PRELOADED = ["restore.config.inference", "restore.inference.load", "restore.web.worker"]  # before a task is known
POLL_EVERY = 0.1  # seconds between two checks of what ends a task
MAX_BYTES = 10_000_000  # of a message; enough for the cards of some hundred checkpoints

ReportProgress = Callable[[str, int, int], None]  # phase, pieces done, pieces in all


class TaskEnded(Exception):
    """A task was ended: cancelled, past its timeout, or its process died.

    Attributes:
        reason: ``cancelled``, ``timeout`` or ``died``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TaskError(Exception):
    """A task failed for a reason that may be shown to the client.

    Attributes:
        sentence: the reason. status: of HTTP.
    """

    def __init__(self, sentence: str, status: int = 422) -> None:
        super().__init__(sentence)
        self.sentence, self.status = sentence, status


def context() -> Any:
    """The context of multiprocessing that starts the processes."""
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
    """Run ``task(report, *arguments)`` in a process of its own; afterwards the process has ended.

    Args:
        processes: of :func:`context`. task: a function of a module; returns what JSON can hold.
        cancelled: polled. timeout: in seconds.

    Raises:
        TaskError: as the task raised it. TaskEnded: without a result.
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
    """A result, or a report; a process that sends anything else counts as dead.

    Raises:
        TaskError: the message is one. TaskEnded: the message is malformed.
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
    """In the new process; an unexpected error ends it with a traceback, and the caller sees that it died."""
    from restore.config.errors import USER_ERRORS

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server handles Ctrl-C, and ends this process
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
