"""What a run's seconds are counted by, for ``restore check``."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

Clock = Callable[[], float]
STATISTICS = Path("/proc/thread-self/schedstat")  # of Linux: nanoseconds on a core, nanoseconds waiting for one, turns


def wall() -> float:
    """Seconds on the wall; an accelerator's work is waited for."""
    torch = sys.modules.get("torch")  # this file is read before torch is, so that the import can be timed
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def alone() -> float:
    """Seconds on the wall less those in which this thread could have worked, but others had the cores.

    Where the system does not count these, as only Linux does, seconds on the wall.
    """
    return wall() - waited_for_core()


def waited_for_core() -> float:
    """Seconds so far in which this thread was ready and none of the cores was free; 0 where nothing says so."""
    try:
        return int(STATISTICS.read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0
