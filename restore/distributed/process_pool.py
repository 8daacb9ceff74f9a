"""Runs many tasks in one or several processes; each free process takes the next task.

Several processes are started by spawning, not forking, so an accelerator works in each. A shared event asks them to
stop, because a signal to the main process does not reach them.
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
from typing import Any, NamedTuple

from restore.io.progress import TaskProgress

NOT_STARTED = "not started"  # result of a task that was still queued when all processes were asked to stop
POLL_EVERY = 0.2  # seconds between checks for signals and progress


class Context(NamedTuple):
    """What a worker may use during a task.

    Attributes:
        report: called as ``report(description, pieces done, total pieces)``. cancel: true when the worker should stop.
    """

    report: Callable[[str, int, int], None]
    cancel: Callable[[], bool]


UNWATCHED = Context(lambda *_: None, lambda: False)  # for a task without progress reports and cancellation
Worker = Callable[[Any, Context], Any]  # task -> result


def spread(
    tasks: Sequence[Any],
    worker: Worker,
    start: Callable[[], Worker],
    *,
    processes: int,
    threads: int | None,
    cancel: Callable[[], bool],
    show: Callable[[TaskProgress], None],
) -> Iterator[tuple[Any, Any]]:
    """Run tasks; once cancelled, running tasks are ended and no others are started.

    Args:
        tasks: must be picklable.
        worker: runs a task in this process; used with one process or fewer than two tasks.
        start: makes the worker in each of several processes; must be picklable.
        processes: at least 1. threads: per process; None keeps torch's default, divided among several processes.
        cancel: polled. show: called with progress reports.

    Yields:
        (task, result), in order of completion.

    Raises:
        ChildProcessError: a process died. Errors of a worker are passed on.
    """
    if processes > 1 and len(tasks) > 1:
        yield from _spread(tasks, start, min(processes, len(tasks)), threads, cancel, show)
        return
    assign_resources(0, threads)
    context = Context(lambda what, done, total: show(TaskProgress(0, what, done, total)), cancel)
    for task in tasks:
        if cancel():
            return
        yield task, worker(task, context)


def _spread(
    tasks: Sequence[Any],
    start: Callable[[], Worker],
    processes: int,
    threads: int | None,
    cancel: Callable[[], bool],
    show: Callable[[TaskProgress], None],
) -> Iterator[tuple[Any, Any]]:
    spawn = multiprocessing.get_context("spawn")
    stop, reports, numbers = spawn.Event(), spawn.Queue(), spawn.Queue()
    for number in range(processes):
        numbers.put(number)
    threads = threads or max(1, (os.cpu_count() or 1) // processes)
    arguments = (start, threads, stop, reports, numbers)
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_begin, initargs=arguments) as pool:
        waiting: dict[Future[Any], Any] = {pool.submit(_do, task): task for task in tasks}
        try:
            while waiting:
                done, _ = wait(waiting, timeout=POLL_EVERY, return_when=FIRST_COMPLETED)
                while not reports.empty():
                    show(reports.get())
                if cancel() and not stop.is_set():
                    stop.set()
                    waiting = {future: task for future, task in waiting.items() if not future.cancel()}
                for future in done:
                    if future in waiting and future.result() != NOT_STARTED:
                        yield waiting[future], future.result()
                    waiting.pop(future, None)
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"one of {processes} processes ended unexpectedly; memory may have run out: set devices=1"
            ) from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


# --- in the processes ---

_worker: Worker
_context: Context


def _begin(start: Callable[[], Worker], threads: int, stop: Any, reports: Any, numbers: Any) -> None:
    global _worker, _context
    for number in (signal.SIGINT, signal.SIGTERM):  # the main process handles them, and sets the event
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)-8s %(message)s")
    number, last = numbers.get(), 0.0
    assign_resources(number, threads)

    def report(what: str, done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() > last + POLL_EVERY:
            last = time.monotonic()
            reports.put(TaskProgress(number, what, done, total))

    _context = Context(report, stop.is_set)
    _worker = start()


def _do(task: Any) -> Any:
    return NOT_STARTED if _context.cancel() else _worker(task, _context)


def _end_with_parent() -> None:
    """End this process when the process that started the pool ends or is killed. Runs in a thread."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def assign_resources(number: int, threads: int | None) -> None:
    """Set the threads and the GPU of this process, one of several; None keeps torch's default number of threads."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
