"""Starts Python processes without their 6 seconds of imports: forks of a process that has done those already.

A template, a process with one thread, forks itself for each request. What it forks is adopted by the process that
asked, so that for signals, exit status and ``getppid()`` it is a child like any other; it has a folder, an environment,
an output and a session of its own. :mod:`restore.training.launcher` and torchrun start their workers in the same way
there, from a template that was forked before their process did anything.

For tests of anything but imports, of what Python does before them, and of command lines in ``/proc``. Linux only.
"""

import atexit
import ctypes
import gc
import importlib
import os
import pickle
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import IO, NoReturn

from tests import small_photos, stand_in_curves

ROOT = Path(__file__).parent.parent
IMPORTED = (
    "restore.fit",
    "restore.training.train",
    "restore.training.worker",
    *(f"restore.models.{name}" for name in ("deblur", "super_resolution", "translation.model", "zero_shot.model")),
    *(f"restore.data.{name}" for name in ("deblur", "super_resolution", "translation")),
    *(f"restore.callbacks.{name}" for name in ("ema", "panels", "throughput")),
    "matplotlib.figure",
)
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>
LENGTH = 8  # bytes of the number that says how long a request is
# programs that start workers: the module that starts them, and what it starts them with
STARTERS = {
    "restore.fit": ("restore.training.launcher", "subprocess.Popen"),
    "torch.distributed.run": (
        "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler",
        "Popen",
    ),
}
Before = Callable[[], None]


class Forked:
    """A child of this process, with what tests and the launcher use of ``subprocess.Popen``.

    Attributes:
        returncode: minus the number of the signal that killed it; None while it runs, as far as was looked.
    """

    def __init__(self, pid: int, output: IO[bytes] | None = None) -> None:
        self.pid, self._output = pid, output
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if found else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.poll() is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                if not select.select([descriptor], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0, self.output())
            finally:
                os.close(descriptor)
        status = self.poll()
        assert status is not None
        return status

    def output(self) -> str:
        """What it has written so far."""
        return "" if self._output is None else Path(self._output.name).read_text()

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        self.wait(timeout)
        return self.output(), None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@dataclass
class Job:
    """What a fork is to do.

    Attributes:
        words: what would follow ``python`` on a command line: ``-m module ...`` or ``file ...``.
        folder: to work in. environment: all of it. new_session: as in ``subprocess.Popen``.
        before: pickled; called before everything else with these words in ``sys.argv``, in workers of this process too.
        begun: in the fork, a descriptor that is closed after that; whoever asked for the fork waits for it.
    """

    words: list[str]
    folder: str
    environment: Mapping[str, str]
    new_session: bool
    before: bytes
    begun: int = -1

    def run(self) -> NoReturn:
        """As Python does, but that it does not tidy up its memory at the end."""
        status = 1
        try:
            self._begin()
            if self.words[0] == "-m":
                sys.argv = sys.argv[1:]
                sys.modules.pop(self.words[1], None)  # a copy of it is run
                runpy.run_module(self.words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(self.words[0], run_name="__main__")
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException as error:  # noqa: BLE001  what Python does with every one
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _begin(self) -> None:
        if self.new_session:
            os.setsid()
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        small_photos.use()
        stand_in_curves.use()
        random.seed()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = list(self.words)
        before: Before | None = pickle.loads(self.before)
        if before is not None:
            before()
        os.close(self.begun)


class Template:
    """The process that forks; ends when this object's process does.

    Args:
        channel: to it.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    @classmethod
    def started(cls) -> "Template":
        """A new one, which has imported what a training needs."""
        here, there = socket.socketpair()
        with there:
            subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", str(there.fileno())],
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1"},  # a process without threads can fork
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
            )
        return cls(here)

    def fork(self, job: Job, output: IO[bytes] | None = None) -> Forked:
        """Start a job as a child of this process.

        Args:
            output: file for its stdout and stderr; None: those of this process.
        """
        request = pickle.dumps(job)
        descriptors = [1, 2] if output is None else [output.fileno()] * 2
        _adopt_orphans(True)
        try:
            socket.send_fds(self._channel, [len(request).to_bytes(LENGTH, "big")], descriptors)
            self._channel.sendall(request)
            number = _received(self._channel, LENGTH)
            assert number, "the template has ended"
            return Forked(int.from_bytes(number, "big"), output)
        finally:
            _adopt_orphans(False)


def start(
    *words: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    start_new_session: bool = False,
    before: Before | None = None,
) -> Forked:
    """Start a Python process; see :class:`Job`. Its stdout and stderr go into one file."""
    environment = dict(os.environ if env is None else env)
    output = tempfile.NamedTemporaryFile()  # noqa: SIM115  as long as the process is known
    return _template().fork(Job(list(words), str(cwd), environment, start_new_session, pickle.dumps(before)), output)


def popen(command: Sequence[str], *, env: Mapping[str, str], start_new_session: bool = False) -> Forked:
    """In place of ``subprocess.Popen`` where a command in this process starts Python; it inherits the output."""
    return _template().fork(Job(list(command[1:]), str(Path.cwd()), env, start_new_session, pickle.dumps(None)))


def run(command: Sequence[str], *, env: Mapping[str, str], **output: bool) -> "subprocess.CompletedProcess[str]":
    """In place of ``subprocess.run``; stderr is in stdout as well."""
    process = start(*command[1:], cwd=Path.cwd(), env=env)
    said = process.communicate()[0]
    return subprocess.CompletedProcess(command, process.wait(), said, said)


@cache
def _template() -> Template:
    """The one of this process."""
    return Template.started()


def _adopt_orphans(does: bool) -> None:
    """Whether children of children become children of this process when their parent ends."""
    ctypes.CDLL(None).prctl(SUBREAPER, int(does), 0, 0, 0)


def _received(channel: socket.socket, count: int) -> bytes:
    """So many bytes; none at the end."""
    found = b""
    while len(found) < count:
        part = channel.recv(count - len(found))
        if not part:
            return b""
        found += part
    return found


# --- in the template and its forks ---


def serve(channel: socket.socket) -> Job | None:
    """Fork for each request; returns its job in the fork, and None in the template at the end."""
    while True:
        head, descriptors, *_ = socket.recv_fds(channel, LENGTH, 2)
        if not head:
            return None
        head += _received(channel, LENGTH - len(head)) if len(head) < LENGTH else b""
        job: Job = pickle.loads(_received(channel, int.from_bytes(head, "big")))
        goes, may_go = os.pipe()
        tells, number = os.pipe()
        first = os.fork()
        if not first:
            second = os.fork()
            if second:
                os.write(number, second.to_bytes(LENGTH, "big"))
                os._exit(0)  # so that the second is adopted
            os.close(may_go)
            os.close(tells)
            os.read(goes, 1)  # nothing, at the end of the first
            os.close(goes)
            channel.close()
            for target, descriptor in zip((1, 2), descriptors, strict=True):
                os.dup2(descriptor, target)
                os.close(descriptor)
            return replace(job, begun=number)
        os.close(number)
        os.waitpid(first, 0)
        os.close(may_go)
        process = os.read(tells, LENGTH)
        os.read(tells, 1)  # nothing, when it has begun
        channel.sendall(process)
        for each in (goes, tells, *descriptors):
            os.close(each)


def _launch_workers(job: Job) -> Job:
    """Fork a template for the workers that this process may start; in its forks: the job of the worker."""
    here, there = socket.socketpair()
    if not os.fork():
        os.close(job.begun)
        here.close()
        worker = serve(there)
        if worker is None:
            os._exit(0)
        return worker
    there.close()
    template = Template(here)

    def popen(args: Sequence[str], *, env: Mapping[str, str], start_new_session: bool, **output: None) -> Forked:
        words, here = [word for word in args[1:] if word != "-u"], str(Path.cwd())
        return template.fork(
            replace(job, words=words, folder=here, environment=dict(env), new_session=start_new_session)
        )

    name, called = STARTERS[job.words[1]]
    *space, function = called.split(".")
    by = SimpleNamespace(**{function: popen}) if space else popen
    setattr(importlib.import_module(name), (*space, function)[0], by)
    return job


def main() -> None:
    """In a template, and then in each of its forks."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    assert len(list(Path("/proc/self/task").iterdir())) == 1
    job = serve(channel)
    if job is not None and job.words[0] == "-m" and job.words[1] in STARTERS:
        job = _launch_workers(job)
    if job is not None:
        job.run()


if __name__ == "__main__":
    main()
