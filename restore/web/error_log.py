"""Logs errors of the server, each call site at most once an hour, however often a client triggers it."""

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_OURS = Path(__file__).parent.parent
REPEAT_AFTER = 3600  # seconds until a call site is logged again, with the number of errors since


class ErrorLog:
    """Logs unexpected errors, with their tracebacks.

    A call site is the last line of our own code plus the line that raised, perhaps in a library, so that two errors
    ending in the same library line are distinct. A client can repeat the same request forever; the log then grows by
    one entry per call site and hour, with the number of errors.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._logged: dict[tuple[object, ...], tuple[float | None, int]] = {}  # call site -> (time, number since)

    def record(self, error: Exception) -> None:
        """Log the error, or only count it."""
        now, site = self.clock(), _call_site(error)
        when, silent = self._logged.get(site, (None, 0))
        if when is not None and now < when + REPEAT_AFTER:
            self._logged[site] = (when, silent + 1)
            return
        self._logged[site] = (now, 0)
        since = f", and {silent} more since it was last logged" if silent else ""
        log.error("internal error: a request was answered with 500%s", since, exc_info=error)


def _call_site(error: Exception) -> tuple[object, ...]:
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [(file, line) for file, line in frames if Path(file).is_relative_to(_OURS)]
    return type(error), *ours[-1:], *frames[-1:]
