"""Defects of ours in the server's log: each place now and then, however often somebody makes it fail."""

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_OURS = Path(__file__).parent.parent
TELL_AGAIN = 3600  # seconds after which a place is told of again, with how often it failed since


class Defects:
    """Logs what failed, with its traceback.

    A place is where our own code was and where the error rose, in a library perhaps, so that two defects which end in
    the same library are two. Who found one may send the same request for ever: the log grows by one entry a place and
    hour, which says how many there were.

    Args:
        clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._told: dict[tuple[object, ...], tuple[float, int]] = {}  # place -> (when, how many since)

    def tell(self, defect: Exception) -> None:
        """Log it, or count it."""
        now, place = self.clock(), _place(defect)
        when, silent = self._told.get(place, (now - TELL_AGAIN, 0))
        if now < when + TELL_AGAIN:
            self._told[place] = (when, silent + 1)
            return
        self._told[place] = (now, 0)
        since = f", and {silent} more since it was last told" if silent else ""
        log.error("a defect: a request was answered with 500%s", since, exc_info=defect)


def _place(defect: Exception) -> tuple[object, ...]:
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(defect.__traceback__)]
    ours = [(file, line) for file, line in frames if Path(file).is_relative_to(_OURS)]
    return type(defect), *ours[-1:], *frames[-1:]
