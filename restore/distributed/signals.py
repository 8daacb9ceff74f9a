"""Signals that ask a command to stop, at the next safe point or immediately; and Slurm's requeue after a signal."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

log = logging.getLogger(__name__)

AGAIN_AFTER = 0.2  # seconds
ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class StopRequested(BaseException):
    """A signal asked the job to stop.

    Not an ``Exception``, so that no library in between handles it as its own error.

    Args:
        number: number of the signal.
        is_own: whether this process received it, and not only a process that it started.
        is_common: whether all processes of the training agreed to stop after the same step, from which the run can be
            resumed exactly.
    """

    def __init__(self, number: int, *, is_own: bool = True, is_common: bool = False) -> None:
        super().__init__(signal.Signals(number).name)
        self.number, self.is_own, self.is_common = number, is_own, is_common


@contextmanager
def handled(handler: Callable[[int, Any], None], numbers: Sequence[int]) -> Iterator[None]:
    """Handle signals within the block; does nothing outside the main thread, where Python allows no handlers."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


@contextmanager
def never_ignored() -> Iterator[None]:
    """Within the block, a signal is sent again if Python ignored the exception that it raised.

    An exception in the callback of a weak reference or in ``__del__`` is only printed, and every import runs such a
    callback: without this, a Ctrl-C during the import of PyTorch sometimes has no effect.
    """
    before = sys.unraisablehook

    def send_again(ignored: Any) -> None:
        error = ignored.exc_value
        if not isinstance(error, StopRequested | KeyboardInterrupt):
            before(ignored)
            return
        number = error.number if isinstance(error, StopRequested) else signal.SIGINT
        main = threading.main_thread().ident
        again = threading.Timer(AGAIN_AFTER, signal.pthread_kill, (main, number))  # after Python has left that callback
        again.daemon = True
        again.start()

    sys.unraisablehook = send_again
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def stopping() -> Iterator[Callable[[], int]]:
    """Within the block, the first SIGINT or SIGTERM is only recorded; a second one ends the process at once.

    Yields:
        The number of the signal received, or 0.
    """
    received = 0
    before: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        nonlocal received
        # the old handler is not restored after the first signal, because Lightning restores ours after a training
        if received:
            signal.signal(number, before[number])
            signal.raise_signal(number)
        received = number

    for asked in (signal.SIGINT, signal.SIGTERM):
        before[asked] = signal.signal(asked, note)
    try:
        yield lambda: received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt(number: int, frame: Any) -> NoReturn:
    """Signal handler for code that has nothing to save: stop at once."""
    raise StopRequested(number)


@contextmanager
def interrupting() -> Iterator[Callable[[], None]]:
    """Within the block, a signal that asks to stop does so at once, see :func:`interrupt`.

    Yields:
        A function that stops again after such a signal, to call after an import whose library may have swallowed it.
    """
    received = 0

    def stop(number: int, frame: Any) -> NoReturn:
        nonlocal received
        received = number
        raise StopRequested(number)

    def stop_again() -> None:
        if received:
            raise StopRequested(received)

    with handled(stop, ASKING):
        yield stop_again


def requeue(number: int) -> bool:
    """Ask Slurm to start this job again after a signal that announced its time limit; without Slurm, do nothing.

    Args:
        number: of the signal; SIGUSR1 and SIGUSR2 announce the limit, any other means that the job should end.

    Returns:
        Whether Slurm will start it again.
    """
    own = os.environ
    if "SLURM_JOB_ID" not in own or number not in (signal.SIGUSR1, signal.SIGUSR2):
        return False
    # one task of an array must not use the array's job id, which would requeue all tasks
    is_array = "SLURM_ARRAY_JOB_ID" in own
    job = f"{own['SLURM_ARRAY_JOB_ID']}_{own['SLURM_ARRAY_TASK_ID']}" if is_array else own["SLURM_JOB_ID"]
    log.warning("asking Slurm to start job %s again", job)
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, timeout=60, capture_output=True, text=True)
    except (subprocess.SubprocessError, OSError) as error:
        reason = str(getattr(error, "stderr", None) or error).strip()
        log.error("Slurm does not start job %s again (%s); submit the same job again", job, reason)
        return False
    return True
