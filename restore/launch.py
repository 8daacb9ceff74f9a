"""A job on several processes: where this process stands in one, and how fresh ones are started and watched.

The process that Hydra started never becomes one of them: it writes the job into the run folder, starts the others
without Hydra (:mod:`restore.rank`), hands signals on and waits. So a sweep's process joins no process group, and its
next job begins clean. Where srun, torchrun or submitit have started several processes already, nothing more is started.
"""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from restore.run_folder import read_mapping, write_text

log = logging.getLogger(__name__)

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
LOOK_EVERY = 0.1  # seconds between two looks at the processes
AFTER_FAILURE = 10.0  # seconds that the others get to end by themselves once one has failed
AFTER_SIGNAL = 110.0  # seconds that all get to end once a signal was handed on
STRIPPED = ("SLURM_", "SBATCH_", "TORCHELASTIC_", "SUBMITIT_")  # a fresh process is part of our group and no other


class Place(NamedTuple):
    """Where a process stands in its job.

    Attributes:
        rank: its number over all machines. world: how many there are.
        local_world: how many there are on this machine.
        by: what started them: ``nothing`` for a job of one process, ``environment`` or ``srun``.
    """

    rank: int
    world: int
    local_world: int
    by: str


def place() -> Place:
    """Where this process stands, by its environment.

    Raises:
        ValueError: the environment is that of one of several processes, but incomplete, or of uneven nodes.
    """
    _adopt_submitit()
    own = os.environ
    if "LOCAL_RANK" in own:
        missing = [name for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE") if name not in own]
        if missing:
            raise ValueError(
                f"LOCAL_RANK is {own['LOCAL_RANK']}, which says that this is one of several processes, but "
                f"{', '.join(missing)} is not set; start them with torchrun, or unset LOCAL_RANK"
            )
        return Place(int(own["RANK"]), int(own["WORLD_SIZE"]), int(own["LOCAL_WORLD_SIZE"]), "environment")
    # in a batch script, before srun, the number of tasks is set as well, but this is the only process
    tasks = int(own.get("SLURM_STEP_NUM_TASKS", "1")) if "SLURM_STEP_ID" in own else 1
    return Place(0, 1, 1, "nothing") if tasks == 1 else _place_of_task(tasks, int(own["SLURM_STEP_NUM_NODES"]))


def _place_of_task(tasks: int, nodes: int) -> Place:
    if tasks % nodes or "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise ValueError(
            f"srun started {tasks} tasks on {nodes} nodes, expected a number for each node; set --ntasks-per-node in "
            "the job, and not --ntasks"
        )
    return Place(int(os.environ["SLURM_PROCID"]), tasks, tasks // nodes, "srun")


def _adopt_submitit() -> None:
    """Tasks of submitit's local executor carry names of their own; give them those that everybody knows."""
    own = os.environ
    if int(own.get("SUBMITIT_LOCAL_NTASKS", "1")) < 2 or "LOCAL_RANK" in own:
        return
    count, number = own["SUBMITIT_LOCAL_NTASKS"], own["SUBMITIT_LOCAL_GLOBALID"]
    own.update(RANK=number, LOCAL_RANK=own["SUBMITIT_LOCAL_LOCALID"], WORLD_SIZE=count, LOCAL_WORLD_SIZE=count)
    port = 20000 + zlib.crc32(own["SUBMITIT_LOCAL_JOB_ID"].encode()) % 10000  # the same for all tasks of a job
    own.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))


def processes(trainer: Mapping[str, Any]) -> int:
    """How many processes a job of one machine is to have.

    Args:
        trainer: its settings.

    Raises:
        ValueError: a number that cannot be, or more than there are GPUs.
    """
    devices, nodes = trainer["devices"], trainer["num_nodes"]
    if not isinstance(nodes, int) or isinstance(nodes, bool) or nodes < 1:
        raise ValueError(f"trainer.num_nodes is {nodes}, expected a whole number, at least 1")
    if devices != "auto" and (not isinstance(devices, int) or isinstance(devices, bool) or devices < 1):
        raise ValueError(f"trainer.devices is {devices}, expected a number of processes, at least 1, or auto")
    if devices == 1 or (devices == "auto" and trainer["accelerator"] == "cpu"):
        return 1
    gpus = 0 if trainer["accelerator"] == "cpu" else _gpus()
    if devices == "auto":
        return max(1, gpus)
    if gpus < devices and (gpus or trainer["accelerator"] in ("gpu", "cuda")):
        raise ValueError(
            f"trainer.devices is {devices}, but this machine has {gpus} GPUs; set trainer.devices=auto, or "
            "trainer=ddp_cpu for processes on the CPU"
        )
    return int(devices)


def refuse_missing_srun(count: int) -> None:
    """Raise where a batch script of several tasks started one process that would have to be them all.

    Args:
        count: of the processes the job is to have.

    Raises:
        ValueError: so it is.
    """
    tasks = int(os.environ.get("SLURM_NTASKS", "1"))
    if count > 1 and tasks > 1 and "SLURM_STEP_ID" not in os.environ:
        raise ValueError(
            f"this Slurm job has {tasks} tasks, and one process was started; start it with srun, which starts one for "
            "each task, or ask for --ntasks=1"
        )


def requeue(number: int) -> None:
    """Ask Slurm to start this job again, behind a signal that warned of its end; without Slurm do nothing.

    Args:
        number: of the signal. The others mean that Slurm, or somebody, wants the job to end.
    """
    own = os.environ
    if "SLURM_JOB_ID" not in own or number not in (signal.SIGUSR1, signal.SIGUSR2):
        return
    # one task of an array has the array's own number, by which all of them would be meant
    is_array = "SLURM_ARRAY_JOB_ID" in own
    job = f"{own['SLURM_ARRAY_JOB_ID']}_{own['SLURM_ARRAY_TASK_ID']}" if is_array else own["SLURM_JOB_ID"]
    log.warning("asking Slurm to start job %s again", job)
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, timeout=60, capture_output=True, text=True)
    except (subprocess.SubprocessError, OSError) as error:
        reason = str(getattr(error, "stderr", None) or error).strip()
        log.error("Slurm does not start job %s again (%s); hand the same job in once more", job, reason)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


class Interrupted(Exception):
    """A signal ended the job.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Failed(ChildProcessError):
    """One of the processes failed; the message is its own sentence."""


def run(job: Mapping[str, Any], folder: Path, count: int) -> None:
    """Do a job on ``count`` fresh processes, and wait for them.

    Args:
        job: what :mod:`restore.rank` is to do, in JSON's types.
        folder: of the run; ``ranks/`` in it holds the job and the reports of failures meanwhile.

    Raises:
        Failed: the first process that failed says why.
        Interrupted: a signal ended them.
    """
    work = folder / "ranks"
    shutil.rmtree(work, ignore_errors=True)
    write_text(work / "job.json", json.dumps(job))
    port, group = _free_port(), list[subprocess.Popen[bytes]]()
    command = [sys.executable, "-m", "restore.rank", str(work), str(os.getpid())]
    try:
        with _forwarding(group) as signalled:
            for rank in range(count):
                # a session of its own: Ctrl-C comes from here, and once
                group.append(subprocess.Popen(command, env=_environment(rank, count, port), start_new_session=True))
            dead = _wait(group, signalled)
        # Lightning may end a process with status 0 on a signal; a result says more
        if signalled.number:
            if (folder / "result.json").exists():
                return
            raise Interrupted(signalled.number)
        if any(process.returncode for process in group):
            number = _common_signal(group)
            if number:
                raise Interrupted(number)
            raise Failed(_reason(work, dead, count))
    finally:
        for process in group:
            process.kill()
            process.wait()
        shutil.rmtree(work, ignore_errors=True)


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


class _Signalled:
    number = 0


@contextmanager
def _forwarding(group: list[subprocess.Popen[bytes]]) -> Iterator[_Signalled]:
    """Hand signals on to the processes; a second one ends them at once."""
    signalled, before = _Signalled(), {}

    def hand_on(number: int, frame: Any) -> None:
        for process in group:
            process.send_signal(signal.SIGKILL if signalled.number else number)
        signalled.number = number

    # a launcher may do its jobs in threads, which cannot have handlers
    handled = FORWARDED if threading.current_thread() is threading.main_thread() else ()
    for number in handled:
        before[number] = signal.signal(number, hand_on)
    try:
        yield signalled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(group: list[subprocess.Popen[bytes]], signalled: _Signalled) -> dict[int, int]:
    """Wait for all; once one has failed, or a signal was handed on, not for ever.

    Returns:
        The exit statuses of those that were the first to fail, by rank.
    """
    first: dict[int, int] = {}
    deadline: float | None = None
    while any(process.poll() is None for process in group):
        if deadline is None and signalled.number:
            deadline = time.monotonic() + AFTER_SIGNAL
        if not first:
            first = _failures(group)
            if first and all(status - 128 in FORWARDED for status in first.values()):
                deadline = time.monotonic() + AFTER_SIGNAL  # one got a signal, and all have agreed to end
            elif first and not signalled.number:
                deadline = time.monotonic() + AFTER_FAILURE
                for process in group:
                    process.terminate()
        if deadline is not None and time.monotonic() > deadline:
            for process in group:
                process.kill()
        time.sleep(LOOK_EVERY)
    return first or _failures(group)


def _failures(group: list[subprocess.Popen[bytes]]) -> dict[int, int]:
    return {rank: process.returncode for rank, process in enumerate(group) if process.poll()}


def _common_signal(group: list[subprocess.Popen[bytes]]) -> int:
    """The signal that one of them got and all ended by, which each says by 128 + number; or 0."""
    statuses = {process.returncode for process in group}
    status = statuses.pop()
    return status - 128 if not statuses and status - 128 in FORWARDED else 0


def _reason(work: Path, dead: Mapping[int, int], count: int) -> str:
    """The sentence of the first failure: the others only lost their partner."""
    for rank, status in dead.items():
        if status < 0:
            name = signal.Signals(-status).name
            return f"process {rank} of {count} was killed by {name}; if nobody did, it may have been short of memory"
    reports = [read_mapping(path) for path in work.glob("failure_*.json")]
    if not reports:
        return f"process {next(iter(dead))} of {count} ended with status {next(iter(dead.values()))} and no word"
    report = min(reports, key=lambda each: float(each["time"]))
    if report["traceback"]:
        sys.stderr.write(report["traceback"])
    return str(report["sentence"])
