"""A task in a process of its own: whatever it does to its memory or its time, it can be ended.

Processes are forked from one that has imported the heavy libraries and has done nothing with them, so that a job
begins at once and an accelerator works in each; where forking is unknown, fresh ones are started. What comes back is
JSON, so that a process that a hostile picture took over has nothing to say that would run here.
"""

import json
import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

LOOK_EVERY = 0.1  # seconds between two looks at what ends a task
LONGEST = 10_000_000  # bytes of a message; the cards of some hundred checkpoints

Report = Callable[[str, int, int], None]  # what it is doing, pieces done, pieces in all


class Ended(Exception):
    """A task was ended: cancelled, too late, or its process died.

    Attributes:
        reason: ``cancelled``, ``timeout`` or ``died``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Problem(Exception):
    """A task failed for a reason its giver can understand.

    Attributes:
        sentence: that reason. status: of HTTP.
    """

    def __init__(self, sentence: str, status: int = 422) -> None:
        super().__init__(sentence)
        self.sentence, self.status = sentence, status


def context() -> Any:
    """How processes are started."""
    known = multiprocessing.get_all_start_methods()
    chosen = multiprocessing.get_context("forkserver" if "forkserver" in known else "spawn")
    if "forkserver" in known:
        chosen.set_forkserver_preload(
            ["restore.config.inference_settings", "restore.inference.load", "restore.web.worker"]
        )
    return chosen


def run(
    processes: Any,
    task: Callable[..., dict[str, Any]],
    *arguments: Any,
    report: Report,
    cancelled: Callable[[], bool],
    timeout: float,
) -> dict[str, Any]:
    """Do ``task(report, *arguments)`` in a process of its own, and see to it that the process is gone afterwards.

    Args:
        processes: of :func:`context`. task: by its name in a module; returns what JSON can hold.
        cancelled: asked often. timeout: in seconds.

    Raises:
        Problem: as the task raised it. Ended: without a result.
    """
    ours, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=_begin, args=(theirs, task, arguments), daemon=True)
    latest = time.monotonic() + timeout
    try:
        process.start()
        theirs.close()
        while True:
            if cancelled():
                raise Ended("cancelled")
            if time.monotonic() > latest:
                raise Ended("timeout")
            if ours.poll(LOOK_EVERY):
                said = _understood(ours.recv_bytes(LONGEST))
                if isinstance(said, dict):
                    return said
                report(*said)
    except (EOFError, OSError) as error:
        raise Ended("died") from error
    finally:
        if process.pid is not None:
            process.kill()
            process.join()
        process.close()
        ours.close()


def _understood(message: bytes) -> dict[str, Any] | tuple[str, int, int]:
    """A result, or a report; a process that says anything else counts as dead.

    Raises:
        Problem: that is what it says. Ended: it makes no sense.
    """
    try:
        said = json.loads(message)
        if "result" in said:
            return dict(said["result"])
        if "problem" in said:
            problem = Problem(str(said["problem"]), int(said["status"]))
            if not 400 <= problem.status < 500:
                raise ValueError(f"status is {problem.status}")
        else:
            return str(said["phase"]), int(said["done"]), int(said["total"])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise Ended("died") from error
    raise problem


def _begin(channel: Connection, task: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> None:
    """In the new process; a defect of ours ends it with a traceback, and the giver sees that it died."""
    from restore.config.errors import USER_ERRORS

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's, which ends this process
    last = 0.0

    def send(**message: Any) -> None:
        channel.send_bytes(json.dumps(message).encode())

    def report(phase: str, done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() > last + LOOK_EVERY:
            last = time.monotonic()
            send(phase=phase, done=done, total=total)

    try:
        send(result=task(report, *arguments))
    except Problem as problem:
        send(problem=problem.sentence, status=problem.status)
    except USER_ERRORS as error:
        send(problem=str(error), status=422)
