"""Limits that the process of a job sets itself, before it looks at a stranger's file.

Where the system knows no such limits (RLIMIT_AS is Linux's), the job's timeout alone holds.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_STATUS = Path("/proc/self/statm")  # of this process, in pages; its address space first


class TooSlow(BaseException):
    """The time is over; no error, so that no reader takes it for one of its own."""


@contextmanager
def limited_memory(more: int) -> Iterator[None]:
    """Within, at most so many bytes are mapped beyond what is mapped now; more is a MemoryError."""
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
    """Within, TooSlow is raised after so long; for the main thread."""
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
