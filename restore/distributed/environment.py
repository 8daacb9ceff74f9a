"""The environment of a process: single, or one of several started by torchrun, srun, submitit or ``fit`` itself."""

import os
import zlib
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from restore.io.errors import SettingError


class ProcessInfo(NamedTuple):
    """A process within its job.

    Attributes:
        rank: its index over all nodes, from 0. world_size: number of processes.
        local_world_size: number of processes on this node.
        launcher: the program that started them: ``none`` for a single process, ``srun``, or ``torchrun``, whose
            environment variables :mod:`restore.training.launcher` also sets.
    """

    rank: int
    world_size: int
    local_world_size: int
    launcher: Literal["none", "torchrun", "srun"]

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.world_size // self.local_world_size


ALONE = ProcessInfo(0, 1, 1, "none")


def process_info() -> ProcessInfo:
    """This process, according to its environment variables.

    Raises:
        ValueError: the variables are incomplete, or the nodes have different numbers of processes.
    """
    _adopt_submitit()
    own = os.environ
    if "LOCAL_RANK" in own:
        missing = [name for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE") if name not in own]
        if missing:
            raise ValueError(
                f"LOCAL_RANK is {own['LOCAL_RANK']}, which means that this is one of several processes, but "
                f"{', '.join(missing)} is not set; start them with torchrun, or unset LOCAL_RANK"
            )
        return ProcessInfo(int(own["RANK"]), int(own["WORLD_SIZE"]), int(own["LOCAL_WORLD_SIZE"]), "torchrun")
    # in a batch script outside srun, the number of tasks is also set, but this is the only process
    tasks = int(own.get("SLURM_STEP_NUM_TASKS", "1")) if "SLURM_STEP_ID" in own else 1
    return ALONE if tasks == 1 else _slurm_task(tasks, int(own["SLURM_STEP_NUM_NODES"]))


def _slurm_task(tasks: int, nodes: int) -> ProcessInfo:
    if tasks % nodes or "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise ValueError(
            f"srun started {tasks} tasks on {nodes} nodes, expected the same number on each node; set "
            "--ntasks-per-node in the job, and not --ntasks"
        )
    return ProcessInfo(int(os.environ["SLURM_PROCID"]), tasks, tasks // nodes, "srun")


def _adopt_submitit() -> None:
    """Set torchrun's variables for tasks of submitit's local executor."""
    own = os.environ
    if int(own.get("SUBMITIT_LOCAL_NTASKS", "1")) < 2 or "LOCAL_RANK" in own:
        return
    count, number = own["SUBMITIT_LOCAL_NTASKS"], own["SUBMITIT_LOCAL_GLOBALID"]
    own.update(RANK=number, LOCAL_RANK=own["SUBMITIT_LOCAL_LOCALID"], WORLD_SIZE=count, LOCAL_WORLD_SIZE=count)
    port = 20000 + zlib.crc32(own["SUBMITIT_LOCAL_JOB_ID"].encode()) % 10000  # equal for all tasks of a job
    own.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))


def planned_slurm_tasks() -> ProcessInfo:
    """The first of the tasks that a Slurm job's ``srun`` will start; called in a one-task step of the same job.

    Without ``--ntasks-per-node`` the number of tasks is unknown, and this process counts as the only one.
    """
    own = os.environ
    if "SLURM_STEP_ID" not in own or "SLURM_NTASKS_PER_NODE" not in own:
        return ALONE
    nodes = int(own.get("SLURM_JOB_NUM_NODES", own.get("SLURM_NNODES", "1")))
    own["SLURM_NNODES"] = str(nodes)  # trainer=slurm reads it, and srun has set it to the single node of this step
    tasks = int(own["SLURM_NTASKS_PER_NODE"])
    return ProcessInfo(0, tasks * nodes, tasks, "srun") if tasks * nodes > 1 else ALONE


def processes_to_start(trainer: Mapping[str, Any]) -> int:
    """Number of processes that a job on one machine will have.

    Args:
        trainer: settings of the trainer.

    Raises:
        SettingError: an invalid number, or more than there are GPUs.
    """
    devices, nodes = trainer["devices"], trainer["num_nodes"]
    if not isinstance(nodes, int) or isinstance(nodes, bool) or nodes < 1:
        raise SettingError("trainer.num_nodes", nodes, "a whole number, at least 1")
    if devices != "auto" and (not isinstance(devices, int) or isinstance(devices, bool) or devices < 1):
        raise SettingError("trainer.devices", devices, "a number of processes, at least 1, or auto")
    if devices == 1 or (devices == "auto" and trainer["accelerator"] == "cpu"):
        return 1
    gpus = 0 if trainer["accelerator"] == "cpu" else _gpus()
    if devices == "auto":
        return max(1, gpus)
    if gpus < devices and (gpus or trainer["accelerator"] in ("gpu", "cuda")):
        raise SettingError(
            "trainer.devices",
            devices,
            f"at most {gpus}, the number of GPUs of this machine",
            "set trainer.devices=auto, or trainer=ddp_cpu for processes on the CPU",
        )
    return int(devices)


def refuse_missing_srun(count: int) -> None:
    """Refuse a batch script with several tasks that started a single process without ``srun``.

    Args:
        count: number of processes that the job will have.

    Raises:
        ValueError: the job has several tasks, and this process is the only one.
    """
    tasks = int(os.environ.get("SLURM_NTASKS", "1"))
    if count > 1 and tasks > 1 and "SLURM_STEP_ID" not in os.environ:
        raise ValueError(
            f"this Slurm job has {tasks} tasks, and one process was started; start it with srun, which starts one for "
            "each task, or ask for --ntasks=1"
        )


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def check_processes(config: Mapping[str, Any], process: ProcessInfo, count: int) -> None:
    """Compare a run's settings with the processes that were started, before any others are started.

    Args:
        config: configuration of the run, resolved.
        process: this process, or the first one of a planned job.
        count: number of processes that a job on one machine will have, see :func:`processes_to_start`.

    Raises:
        SettingError: settings and processes disagree. ValueError: see :func:`refuse_missing_srun`.
    """
    trainer, here = config["trainer"], process.local_world_size
    if process.world_size > 1 and trainer["devices"] not in (here, "auto"):
        raise SettingError(
            "trainer.devices",
            trainer["devices"],
            f"{here}, the number of processes that were started on this machine",
            f"set trainer.devices={here}",
        )
    if trainer["num_nodes"] != process.nodes:
        raise SettingError(
            "trainer.num_nodes",
            trainer["num_nodes"],
            f"{process.nodes}, the number of machines on which processes were started",
            "start the command with torchrun on every machine, or with srun, or set the same number",
        )
    refuse_missing_srun(count)
    size, world_size = config["data"].get("batch_size"), max(count, process.world_size)
    if isinstance(size, int) and size % world_size:
        raise SettingError(
            "data.batch_size",
            size,
            f"a multiple of the {world_size} processes, because it counts the samples of all processes together",
            "change it, or set trainer.devices=1",
        )
