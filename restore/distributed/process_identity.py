"""Tells whether a certain process still runs, although its id may have been reused."""

import os
from pathlib import Path
from typing import NamedTuple


class ProcessIdentity(NamedTuple):
    """A process, identified by its id and start time, because ids are reused.

    Attributes:
        number: process id. started: start time in clock ticks; empty if the system does not report it.
    """

    number: int
    started: str

    @classmethod
    def of(cls, number: int) -> "ProcessIdentity":
        """The process that has this id now."""
        return cls(number, _state_and_start(number)[1])

    def is_alive(self) -> bool:
        """Whether it is still running; a zombie, which only waits for its parent to read its exit status, is not."""
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # the id now belongs to another user's process
            return False
        state, started = _state_and_start(self.number)
        return state not in ("Z", "X") and started == self.started


def _state_and_start(number: int) -> tuple[str, str]:
    """State and start time from Linux's ``/proc``; empty on other systems."""
    try:
        after_name = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return after_name[0], after_name[19]
