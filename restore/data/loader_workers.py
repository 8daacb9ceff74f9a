"""Ends the worker processes of data loaders when a training fails, and translates the errors of a worker."""

import errno
import multiprocessing
import re
import signal
import threading
import traceback
from collections.abc import Iterator, Set
from contextlib import contextmanager
from multiprocessing import resource_sharer
from multiprocessing.process import BaseProcess

from restore.io.errors import SettingError

_SHARED_MEMORY = ("shared memory", "</torch_", "Bus error")  # torch's wording for a full /dev/shm
_FROM_WORKER = re.compile(r"Caught (\w+) in DataLoader worker process \d+\.\n")
_USERS = ("ValueError", "SettingError", "DataProblem")
_JOIN = 10.0  # seconds to wait for a killed worker to end


@contextmanager
def loader_workers(count: int) -> Iterator[None]:
    """Within the block, loaders have ``count`` workers each, which are killed at its end.

    Otherwise Python would wait for them forever at exit: it sends SIGTERM to its children, and the workers ignore that.

    Raises:
        SettingError: the workers have too little shared memory.
        ChildProcessError: a worker was killed.
        ValueError: a worker found an error in the data; only its message is kept, without the traceback in torch's
            message.
    """
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException as error:
        if count and _is_without_memory(error):
            raise SettingError(
                "data.num_workers",
                count,
                "0, because this machine has too little shared memory (/dev/shm) for the batches of the workers",
                "set data.num_workers=0, or provide more shared memory (with docker: --shm-size=8g)",
            ) from error
        if count and _is_of_killed_worker(error):
            raise ChildProcessError(
                "a loader worker was killed; unless that was intended, the machine may have run out of memory: lower "
                "data.num_workers or data.cache_gb, then start the same command again"
            ) from error
        found = _FROM_WORKER.match(str(error))
        if found and (isinstance(error, OSError) or found[1] in _USERS):
            raise ValueError(f"data: {_last_exception(str(error))}") from error
        raise
    finally:
        _kill_new(before)


def _is_without_memory(error: BaseException) -> bool:
    if isinstance(error, OSError):  # of the queues themselves; an error about a file would name it
        return error.errno == errno.ENOSPC and error.filename is None
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SHARED_MEMORY)


def _is_of_killed_worker(error: BaseException) -> bool:
    if isinstance(error, RuntimeError):
        return str(error).startswith("DataLoader worker (pid")
    # killed while the main process was receiving one of its tensors
    frames = traceback.walk_tb(error.__traceback__)
    return isinstance(error, OSError | EOFError) and any(
        frame.f_code.co_filename == resource_sharer.__file__ for frame, _ in frames
    )


def _last_exception(text: str) -> str:
    """The message at the end of a traceback, without its type."""
    return re.split(r"\n(?=\S)", text.rstrip())[-1].partition(": ")[2]


def _kill_new(before: Set[BaseProcess]) -> None:
    workers = [child for child in multiprocessing.active_children() if child not in before]
    if not workers:
        return
    is_main = threading.current_thread() is threading.main_thread()
    # otherwise torch's handler would raise an error for each killed worker
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if is_main else None
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join(_JOIN)
    if is_main:
        signal.signal(signal.SIGCHLD, handler)
