"""Starts the processes of a training and watches them.

The process that Hydra started is not one of them: it writes the job into the run folder, starts the workers without
Hydra (:mod:`restore.training.worker`), forwards signals to them and waits. So the process of a sweep never joins a
process group, its next job runs in new processes, and it survives a point that is killed. Where srun, torchrun or
submitit have already started several processes, no more are started.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from restore.distributed.signals import ASKING, StopRequested, handled
from restore.io.files import read_mapping, write_text

POLL_EVERY = 0.1  # seconds between two polls of the processes
AFTER_FAILURE = 10.0  # seconds from the first failure until the other processes are killed
AFTER_SIGNAL = 110.0  # seconds from a forwarded signal until all processes are killed
STRIPPED = ("SLURM_", "SBATCH_", "TORCHELASTIC_", "SUBMITIT_")  # a worker must not join the launcher's process group


class Failed(ChildProcessError):
    """One of the processes failed; the message is the one it reported."""


def run(job: Mapping[str, Any], folder: Path, count: int, requested_stop: Callable[[], int] = lambda: 0) -> None:
    """Run a job in ``count`` new processes, and wait for them.

    Args:
        job: settings for :mod:`restore.training.worker`, in the types of JSON.
        folder: the run folder; until the end, its ``ranks/`` holds the job and reports of failures.
        requested_stop: polled; returns the number of a signal to forward as if this process had received it, or 0.

    Raises:
        Failed: with the message of the first process that failed.
        StopRequested: a signal ended the processes.
    """
    work = folder / "ranks"
    shutil.rmtree(work, ignore_errors=True)
    write_text(work / "job.yaml", yaml.safe_dump(dict(job)))  # YAML, because JSON has no infinity
    port, group = _free_port(), _Group()
    command = [sys.executable, "-m", "restore.training.worker", str(work), str(os.getpid())]
    try:
        with handled(group.forward, ASKING):
            if requested_stop():
                group.forward(requested_stop())
            for rank in range(0 if group.signalled else count):
                # in its own session, because the terminal would otherwise send Ctrl-C to it as well
                group.append(subprocess.Popen(command, env=_environment(rank, count, port), start_new_session=True))
            dead = _wait(group, requested_stop)
        # Lightning may exit with status 0 after a signal, so the exit status alone does not decide
        if group.signalled:
            if (folder / "result.json").exists():
                return
            raise StopRequested(group.signalled)
        if any(process.returncode for process in group):
            number = _common_signal(group)
            if number:
                raise StopRequested(number, is_own=False)
            raise Failed(_reason(work, dead, count))
    finally:
        for process in group:
            process.kill()
            process.wait()
        shutil.rmtree(work, ignore_errors=True)


class _Group(list[subprocess.Popen[bytes]]):
    """The processes of one training.

    Attributes:
        signalled: number of the signal that was forwarded to the processes, or 0.
    """

    signalled = 0

    def forward(self, number: int, frame: Any = None) -> None:
        """Forward a signal; a second signal kills the processes."""
        for process in self:
            process.send_signal(signal.SIGKILL if self.signalled else number)
        self.signalled = number


def _environment(rank: int, count: int, port: int) -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STRIPPED)}
    own = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "NODE_RANK": "0",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }
    return {"OMP_NUM_THREADS": str(max(1, cores // count))} | kept | own


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(group: _Group, requested_stop: Callable[[], int]) -> dict[int, int]:
    """Wait for all processes; kill them some time after one has failed or a signal was forwarded.

    Returns:
        Exit statuses by rank of the processes that failed first.
    """
    first: dict[int, int] = {}
    deadline: float | None = None
    while any(process.poll() is None for process in group):
        if not group.signalled and requested_stop():
            group.forward(requested_stop())
        if deadline is None and group.signalled:
            deadline = time.monotonic() + AFTER_SIGNAL
        if not first:
            first = _failures(group)
            if first and all(status - 128 in ASKING for status in first.values()):
                deadline = time.monotonic() + AFTER_SIGNAL  # one process got a signal, and all agreed to stop
            elif first and not group.signalled:
                deadline = time.monotonic() + AFTER_FAILURE
                for process in group:
                    process.terminate()
        if deadline is not None and time.monotonic() > deadline:
            for process in group:
                process.kill()
        time.sleep(POLL_EVERY)
    return first or _failures(group)


def _failures(group: list[subprocess.Popen[bytes]]) -> dict[int, int]:
    return {rank: process.returncode for rank, process in enumerate(group) if process.poll()}


def _common_signal(group: list[subprocess.Popen[bytes]]) -> int:
    """The signal that all processes agreed to stop on, from their exit statuses (128 + number); or 0."""
    statuses = {process.returncode for process in group}
    status = statuses.pop()
    return status - 128 if not statuses and status - 128 in ASKING else 0


def _reason(work: Path, dead: Mapping[int, int], count: int) -> str:
    """The message of the first failure; later failures follow from it."""
    for rank, status in dead.items():
        if status < 0:
            who, name = f"process {rank} of {count}" if count > 1 else "the training", signal.Signals(-status).name
            return f"{who} was killed by {name}; unless that was intended, the machine may have run out of memory"
    reports = [read_mapping(path) for path in work.glob("failure_*.json")]
    if not reports:
        return f"process {next(iter(dead))} of {count} ended with status {next(iter(dead.values()))} and no message"
    report = min(reports, key=lambda each: float(each["time"]))
    if report["traceback"]:
        sys.stderr.write(report["traceback"])
    return str(report["sentence"])
