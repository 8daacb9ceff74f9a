"""Progress of slow work: bars on a terminal, otherwise a log line every half minute."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

LINE_EVERY = 30.0  # seconds between lines


class TaskProgress(NamedTuple):
    """Progress of a process with its task.

    Attributes:
        process: its index, from 0. what: label of its bar. done, total: pieces of the task.
    """

    process: int
    what: str
    done: int
    total: int


@contextmanager
def doing(what: str | Callable[[], str], say: Callable[[str], None] = log.info) -> Iterator[None]:
    """Log a line every ``LINE_EVERY`` seconds while the block runs; on a terminal, where there are bars, only once.

    The line is written by a thread, because an import, a large tile or a slow step may itself take longer. For nested
    blocks, only the innermost is logged.

    Args:
        what: the line, or a function that returns it, which is called in another thread.
        say: shows a line; by default it is logged.
    """
    if sys.stdout.isatty():
        if isinstance(what, str):
            say(what)
        yield
        return
    speaker = _speaker.get()
    if speaker is None:
        with _Speaker().started() as speaker, speaker.saying(what, say):
            yield
    else:
        with speaker.saying(what, say):
            yield


class _Speaker:
    """A thread that reports the innermost of nested blocks."""

    def __init__(self) -> None:
        self._lines: list[Callable[[], None]] = []  # one per block, the innermost last
        self._ended = threading.Event()

    @contextmanager
    def started(self) -> Iterator["_Speaker"]:
        """Run the thread within the block."""
        thread, token = threading.Thread(target=self._speak, daemon=True), _speaker.set(self)
        thread.start()
        try:
            yield self
        finally:
            _speaker.reset(token)
            self._ended.set()
            thread.join()  # a thread that writes while the interpreter exits would abort the process

    @contextmanager
    def saying(self, what: str | Callable[[], str], say: Callable[[str], None]) -> Iterator[None]:
        """Report this line within the block."""
        self._lines.append(lambda: say(what() if callable(what) else what))
        try:
            yield
        finally:
            self._lines.pop()

    def _speak(self) -> None:
        while not self._ended.wait(LINE_EVERY):
            for line in self._lines[-1:]:
                line()


_speaker: ContextVar[_Speaker | None] = ContextVar("speaker", default=None)  # of the enclosing blocks


@contextmanager
def show_progress(what: str, count: int) -> Iterator[tuple[Callable[[TaskProgress], None], Callable[[], None]]]:
    """Show a bar over all tasks and one for each process; without a terminal, a line every ``LINE_EVERY`` seconds.

    Args:
        what: plural name of the tasks. count: number of tasks.

    Yields:
        A function that shows a report, and one that counts a task as done.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        counted = Counted(what, count)
        with doing(counted.line):
            yield counted.show, counted.advance
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    # no markup, because names contain brackets and colons
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        overall, of_process = bars.add_task(what, total=count), dict[int, Any]()

        def show(report: TaskProgress) -> None:
            if report.process not in of_process:
                of_process[report.process] = bars.add_task(report.what)
            bars.update(of_process[report.process], description=report.what, completed=report.done, total=report.total)

        yield show, lambda: bars.advance(overall)


class Counted:
    """Progress of tasks as one line: number done, the present work of each process, and the remaining time.

    Args:
        what: plural name of the tasks. count: number of tasks.
    """

    def __init__(self, what: str, count: int) -> None:
        self.what, self.count, self.done = what, count, 0
        self._started, self._begun = time.monotonic(), dict[int, TaskProgress]()

    def show(self, report: TaskProgress) -> None:
        """Store a report; that of a finished task is dropped, because the task is counted."""
        self._begun.pop(report.process, None)
        if report.done < report.total:
            self._begun[report.process] = report

    def advance(self) -> None:
        """Count a task as done."""
        self.done += 1

    def line(self) -> str:
        """The line to log."""
        begun = list(self._begun.values())
        parts = [f"{self.done} of {self.count} {self.what}"]
        parts += [f"{each.what} ({each.done} of {each.total})" for each in begun]
        share = (self.done + sum(each.done / each.total for each in begun)) / max(self.count, 1)
        if 0 < share < 1:
            left = (time.monotonic() - self._started) / share * (1 - share)
            parts.append(f"about {timedelta(seconds=round(left))} left")
        return ", ".join(parts)
