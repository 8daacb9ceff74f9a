"""Signals that ask a command to stop: at the next safe point or immediately; and Slurm's requeue after one."""

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

    No ``Exception``, so that no library on the way takes it for a failure of its own.

    Args:
        number: of the signal.
        is_own: whether this process got it, and not only one that it started.
        is_common: whether all processes of the training have agreed to stop, after the same step, from which the run
            can be resumed exactly.
    """

    def __init__(self, number: int, *, is_own: bool = True, is_common: bool = False) -> None:
        super().__init__(signal.Signals(number).name)
        self.number, self.is_own, self.is_common = number, is_own, is_common


@contextmanager
def handled(handler: Callable[[int, Any], None], numbers: Sequence[int]) -> Iterator[None]:
    """Handle signals within the block; does nothing outside the main thread, where Python takes no handlers."""
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
    """Within the block a signal is sent again where Python has ignored the exception that it raised.

    What is raised in the callback of a weak reference or in ``__del__`` is only printed, and each import runs such a
    callback: a Ctrl-C while PyTorch is imported would sometimes do nothing.
    """
    before = sys.unraisablehook

    def send_again(ignored: Any) -> None:
        error = ignored.exc_value
        if not isinstance(error, StopRequested | KeyboardInterrupt):
            before(ignored)
            return
        number = error.number if isinstance(error, StopRequested) else signal.SIGINT
        main = threading.main_thread().ident
        again = threading.Timer(AGAIN_AFTER, signal.pthread_kill, (main, number))  # once Python has left that place
        again.daemon = True
        again.start()

    sys.unraisablehook = send_again
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def stopping() -> Iterator[Callable[[], int]]:
    """Within the block the first SIGINT or SIGTERM is only noted; a second one ends the process at once.

    Yields:
        The number of the signal received, or 0.
    """
    received = 0
    before: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        nonlocal received
        # not by restoring the old handler after the first: Lightning restores ours after a training
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
    """A handler for where nothing has to be saved: stop at once."""
    raise StopRequested(number)


@contextmanager
def interrupting() -> Iterator[Callable[[], None]]:
    """Within the block a signal that asks to stop does so at once, as :func:`interrupt`.

    Yields:
        Stops again after such a signal: for after an import, in which a library may have swallowed the exception.
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
    """Ask Slurm to start this job again after a signal that announced its time limit; without Slurm do nothing.

    Args:
        number: of the signal; SIGUSR1 and SIGUSR2 announce the limit, any other means that the job should end.

    Returns:
        Whether Slurm will start it again.
    """
    own = os.environ
    if "SLURM_JOB_ID" not in own or number not in (signal.SIGUSR1, signal.SIGUSR2):
        return False
    # one task of an array has the array's own job id, which would requeue all tasks
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
