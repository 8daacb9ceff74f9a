"""Ctrl-C and SIGTERM as a question that a long loop asks, instead of an exception in its middle."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stopping() -> Iterator[Callable[[], int]]:
    """Within it the first signal only asks to stop; a second one ends at once.

    Yields:
        The number of the signal received, or 0.
    """
    received = 0
    before: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        nonlocal received
        if received:  # here and not by putting the old handler back: Lightning puts ours back after a training
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
