"""``trainer.max_time``: limit on the wall-clock time of a run, from the start of its process to its end."""

import os
import re
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from restore.io.errors import SettingError

_CLOCK = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d)")


class TimeSlot(NamedTuple):
    """The time slot of a run.

    Attributes:
        seconds: total length. ends: end of the slot, on the clock of ``time.monotonic``.
    """

    seconds: float
    ends: float

    @property
    def left(self) -> float:
        """Seconds left in the slot."""
        return self.ends - time.monotonic()

    def __str__(self) -> str:
        return clock(self.seconds)


def time_slot(max_time: str | int | None, started: float | None) -> TimeSlot | None:
    """The time slot of a run, or None without a time limit.

    Args:
        max_time: the setting. started: Unix time at which the run began, or None for now.

    Raises:
        SettingError: ``max_time`` is not a valid time.
    """
    seconds, now = max_seconds(max_time), time.time()
    return None if seconds is None else TimeSlot(seconds, time.monotonic() + (started or now) - now + seconds)


def max_seconds(max_time: Any, key: str = "trainer.max_time") -> int | None:
    """Convert ``hours:minutes:seconds`` to seconds; None stays None.

    Args:
        key: name of the setting, for errors.

    Raises:
        SettingError: the value has another format, or is zero.
    """
    if max_time is None:
        return None
    seconds = 0
    if isinstance(max_time, int) and not isinstance(max_time, bool):
        seconds = max_time  # YAML reads 1:30:00 without quotes as a number of seconds
    elif isinstance(max_time, str) and (found := _CLOCK.fullmatch(max_time)):
        hours, minutes, rest = map(int, found.groups())
        seconds = 3600 * hours + 60 * minutes + rest
    if seconds < 1:
        expected = "hours:minutes:seconds, at least one second"
        raise SettingError(key, max_time, expected, "give 50 minutes as 00:50:00")
    return seconds


def refuse_both(max_time: Any, overrides: Sequence[str]) -> None:
    """Refuse an invalid ``trainer.max_time``, and a command line that gives the number of steps as well.

    Raises:
        SettingError
    """
    if max_seconds(max_time) is None:
        return
    for key, _, value in (each.lstrip("+").partition("=") for each in overrides):
        if key == "trainer.max_steps" and value != "null":
            expected = f"nothing, because trainer.max_time={max_time} chooses the number of steps"
            raise SettingError(key, value, expected, "give one of the two")


def clock(seconds: float) -> str:
    """Format seconds as ``0:48:20``."""
    return str(timedelta(seconds=round(seconds)))


def process_started() -> float:
    """Unix time at which this process began, or the present time where the system does not tell (Linux does)."""
    now = time.time()
    if sys.platform != "linux":
        return now
    # field 22; field 2, the command's name in parentheses, may contain spaces
    ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    return now - time.clock_gettime(time.CLOCK_BOOTTIME) + int(ticks) / os.sysconf("SC_CLK_TCK")
