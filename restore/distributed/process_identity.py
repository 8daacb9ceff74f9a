"""Whether a certain process still runs, although its number may have been given to another one since."""

import os
from pathlib import Path
from typing import NamedTuple


class ProcessIdentity(NamedTuple):
    """A process, identified by its number and its time of start, because numbers are used again.

    Attributes:
        number: process id. started: time of start in clock ticks; empty where the system does not give it.
    """

    number: int
    started: str

    @classmethod
    def of(cls, number: int) -> "ProcessIdentity":
        """The process that has this number now."""
        return cls(number, _state_and_start(number)[1])

    def is_alive(self) -> bool:
        """Whether it still runs; a zombie, which waits only for its parent to read its exit status, does not."""
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # the number now belongs to another user's process
            return False
        state, started = _state_and_start(self.number)
        return state not in ("Z", "X") and started == self.started


def _state_and_start(number: int) -> tuple[str, str]:
    """State and time of start from Linux's ``/proc``; empty on other systems."""
    try:
        after_name = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return after_name[0], after_name[19]
