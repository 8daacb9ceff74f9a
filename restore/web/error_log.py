"""Errors of the server in its log: each call site at most once an hour, however often a client causes it."""

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_OURS = Path(__file__).parent.parent
REPEAT_AFTER = 3600  # seconds after which a call site is logged again, with how often it failed since


class ErrorLog:
    """Logs unexpected errors, with their tracebacks.

    A call site is the last line of our own code and the line that raised, perhaps in a library, so that two errors
    which end in the same library line are two. A client can repeat the same request forever: the log grows by one
    entry per call site and hour, which says how many there were.

    Args:
        clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._logged: dict[tuple[object, ...], tuple[float | None, int]] = {}  # call site -> (time, how many since)

    def record(self, error: Exception) -> None:
        """Log it, or count it."""
        now, site = self.clock(), _call_site(error)
        when, silent = self._logged.get(site, (None, 0))
        if when is not None and now < when + REPEAT_AFTER:
            self._logged[site] = (when, silent + 1)
            return
        self._logged[site] = (now, 0)
        since = f", and {silent} more since it was last logged" if silent else ""
        log.error("an error of the server: a request was answered with 500%s", since, exc_info=error)


def _call_site(error: Exception) -> tuple[object, ...]:
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [(file, line) for file, line in frames if Path(file).is_relative_to(_OURS)]
    return type(error), *ours[-1:], *frames[-1:]
