"""Many tasks, several processes: whichever is free takes the next one.

One process does them itself, in order. Several are fresh ones (nothing is forked, so an accelerator works in each);
they are asked to stop by a shared event, because a signal to the first one does not reach them.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

NOT_BEGUN = "not begun"  # the result of a task that was waiting in a process when all were told to stop
LINE_EVERY = 30.0  # seconds between two lines of progress
LOOK_EVERY = 0.2  # seconds between two looks at signals and progress


class Report(NamedTuple):
    """How far a process is with its task.

    Attributes:
        process: 0 and on. what: for a progress bar. done, total: pieces.
    """

    process: int
    what: str
    done: int
    total: int


class Context(NamedTuple):
    """What a worker may use while it does a task.

    Attributes:
        report: called as ``report(what, pieces done, pieces)``. cancel: true when it should stop.
    """

    report: Callable[[str, int, int], None]
    cancel: Callable[[], bool]


Worker = Callable[[Any, Context], Any]  # task -> result


def spread(
    tasks: Sequence[Any],
    start: Callable[[int], Worker],
    *,
    processes: int,
    threads: int | None,
    cancel: Callable[[], bool],
    show: Callable[[Report], None],
) -> Iterator[tuple[Any, Any]]:
    """Do tasks; once cancelled, those under way are brought to an end and no others are begun.

    Args:
        tasks: what can be sent to a process.
        start: called in each process with its number; gives what does a task. To be sent as well.
        processes: at least 1. threads: of each; None leaves torch's own number, shared out among several processes.
        cancel: asked often. show: called with reports.

    Yields:
        (task, result), as they are done.

    Raises:
        ChildProcessError: a process died; what a worker raises goes through.
    """
    if processes == 1 or len(tasks) < 2:
        settle(0, threads)
        worker = start(0)
        context = Context(lambda what, done, total: show(Report(0, what, done, total)), cancel)
        for task in tasks:
            if cancel():
                return
            yield task, worker(task, context)
        return
    yield from _spread(tasks, start, min(processes, len(tasks)), threads, cancel, show)


def _spread(
    tasks: Sequence[Any],
    start: Callable[[int], Worker],
    processes: int,
    threads: int | None,
    cancel: Callable[[], bool],
    show: Callable[[Report], None],
) -> Iterator[tuple[Any, Any]]:
    spawn = multiprocessing.get_context("spawn")
    stop, reports, numbers = spawn.Event(), spawn.Queue(), spawn.Queue()
    for number in range(processes):
        numbers.put(number)
    threads = threads or max(1, (os.cpu_count() or 1) // processes)
    given = (start, threads, stop, reports, numbers, os.getpid())
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_begin, initargs=given) as pool:
        waiting: dict[Future[Any], Any] = {pool.submit(_do, task): task for task in tasks}
        try:
            while waiting:
                done, _ = wait(waiting, timeout=LOOK_EVERY, return_when=FIRST_COMPLETED)
                while not reports.empty():
                    show(reports.get())
                if cancel() and not stop.is_set():
                    stop.set()
                    waiting = {future: task for future, task in waiting.items() if not future.cancel()}
                for future in done:
                    if future in waiting and future.result() != NOT_BEGUN:
                        yield waiting[future], future.result()
                    waiting.pop(future, None)
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"one of {processes} processes died, expected all to live; it may be short of memory: set devices=1"
            ) from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


@contextmanager
def showing(what: str, count: int) -> Iterator[tuple[Callable[[Report], None], Callable[[], None]]]:
    """A bar for all tasks and one for each process; where the output is no terminal, now and then a line.

    Yields:
        What shows a report, and what counts a task as done.
    """
    if not _console().is_terminal:
        yield _say_nothing, _lines(what, count)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        everything, own = bar.add_task(what, total=count), dict[int, Any]()

        def show(report: Report) -> None:
            if report.process not in own:
                own[report.process] = bar.add_task(report.what)
            bar.update(own[report.process], description=report.what, completed=report.done, total=report.total)

        yield show, lambda: bar.advance(everything)


def _say_nothing(report: Report) -> None:
    """Between two pictures a log stays quiet."""


def _console() -> Any:
    from rich.console import Console

    return Console()


def _lines(what: str, count: int) -> Callable[[], None]:
    """What counts a task as done, and tells at most every ``LINE_EVERY`` seconds how long the rest will take."""
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


# --- in the processes ---

_worker: Worker
_context: Context


def _begin(start: Callable[[int], Worker], threads: int, stop: Any, reports: Any, numbers: Any, parent: int) -> None:
    global _worker, _context
    for number in (signal.SIGINT, signal.SIGTERM):  # the first process is asked, and asks
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)-8s %(message)s")
    number, last = numbers.get(), 0.0
    settle(number, threads)

    def report(what: str, done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() > last + LOOK_EVERY:
            last = time.monotonic()
            reports.put(Report(number, what, done, total))

    _context = Context(report, stop.is_set)
    _worker = start(number)


def _do(task: Any) -> Any:
    return NOT_BEGUN if _context.cancel() else _worker(task, _context)


def end_with(parent: int) -> None:
    """End when the process ``parent``, which started this one, does, also when it is killed. For a thread."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def settle(number: int, threads: int | None) -> None:
    """Give this process, one of several, its threads and its accelerator; None leaves torch's own number of threads."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
