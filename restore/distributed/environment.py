"""Where this process stands in its job: alone, or one of several that srun, torchrun or submitit have started."""

import os
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple


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


def own_place() -> Place:
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


def wanted_processes(trainer: Mapping[str, Any]) -> int:
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


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def check_processes(config: dict[str, Any], place: Place, count: int) -> None:
    """What can be said of the number of processes before anything is started."""
    trainer, here = config["trainer"], place.local_world
    if place.world > 1 and trainer["devices"] not in (here, "auto"):
        raise ValueError(
            f"trainer.devices is {trainer['devices']}, but {here} processes were started on this machine; "
            f"set trainer.devices={here}"
        )
    nodes = place.world // here
    if trainer["num_nodes"] != nodes:
        raise ValueError(
            f"trainer.num_nodes is {trainer['num_nodes']}, but the processes that were started are on {nodes}; start "
            "the command with torchrun on every machine, or with srun, or set the same number"
        )
    refuse_missing_srun(count)
    world = count if place.world == 1 else place.world
    if world > 1 and config["model"]["_target_"].startswith("restore.models.zero_shot.model."):
        raise ValueError(
            f"trainer.devices is {trainer['devices']}, but model=zero_shot trains on one picture, which one process "
            "does; set trainer.devices=1, or restore a folder with `restore predict devices=...`, one picture each"
        )
    size = config["data"].get("batch_size")
    if world > 1 and size is not None and (not isinstance(size, int) or size % world):
        raise ValueError(
            f"data.batch_size is {size}, expected a multiple of the {world} processes; it counts the samples of all "
            "processes together"
        )
