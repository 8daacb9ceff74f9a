"""Limits that a job's process sets itself before it reads an untrusted file.

On systems without such limits (RLIMIT_AS is specific to Linux), only the job's timeout applies.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_STATUS = Path("/proc/self/statm")  # memory of this process in pages; the first number is its address space


class TooSlow(BaseException):
    """The time limit was exceeded; not an Exception, so that no library handles it as its own error."""


@contextmanager
def limited_memory(more: int) -> Iterator[None]:
    """Within the block at most ``more`` bytes can be mapped in addition; beyond that, MemoryError is raised."""
    if not _STATUS.exists():
        yield
        return
    import resource

    mapped = int(_STATUS.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = mapped + more
    resource.setrlimit(resource.RLIMIT_AS, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, most))


@contextmanager
def limited_time(seconds: float) -> Iterator[None]:
    """Within the block TooSlow is raised after ``seconds``; only for the main thread."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
