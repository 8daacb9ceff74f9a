"""Progress of many tasks in several processes: bars on a terminal, and a line now and then in a log."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

LINE_EVERY = 30.0  # seconds between two lines


class Report(NamedTuple):
    """How far a process is with its task.

    Attributes:
        process: its number, from 0. what: text of its bar. done, total: pieces of the task.
    """

    process: int
    what: str
    done: int
    total: int


@contextmanager
def show_progress(what: str, count: int) -> Iterator[tuple[Callable[[Report], None], Callable[[], None]]]:
    """A bar over all tasks and one for each process; without a terminal, a line at most every ``LINE_EVERY`` seconds.

    Args:
        what: the tasks, in plural. count: how many there are.

    Yields:
        A function that shows a report, and one that counts a task as done.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        yield (lambda _: None), _log_lines(what, count)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        overall, of_process = bars.add_task(what, total=count), dict[int, Any]()

        def show(report: Report) -> None:
            if report.process not in of_process:
                of_process[report.process] = bars.add_task(report.what)
            bars.update(of_process[report.process], description=report.what, completed=report.done, total=report.total)

        yield show, lambda: bars.advance(overall)


def _log_lines(what: str, count: int) -> Callable[[], None]:
    """A function that counts a task as done and logs, at most every ``LINE_EVERY`` seconds, the time that is left."""
    started = last = time.monotonic()
    done = 0

    def advance() -> None:
        nonlocal done, last
        done, now = done + 1, time.monotonic()
        if now - last >= LINE_EVERY and done < count:
            last = now
            left = (now - started) / done * (count - done)
            log.info("%d of %d %s, about %s left", done, count, what, timedelta(seconds=round(left)))

    return advance
