"""Memory that this process has used, and memory available to it."""

import os
import re
import resource
import sys
from pathlib import Path

import torch

from restore.data.setting_bounds import machine_memory


def peak_bytes(device_type: str) -> int:
    """Peak memory so far: reserved by PyTorch on a GPU, otherwise resident memory of this process."""
    if device_type == "cuda":
        return int(torch.cuda.max_memory_reserved())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS reports bytes


def available_bytes(device_type: str) -> int:
    """Memory available to a process like this one: the smallest of the limits that the system reports."""
    if device_type == "cuda":
        return int(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved())
    # free memory of the machine plus this process's own; installed memory if the system reports neither
    told = (("MemAvailable", "/proc/meminfo"), ("VmRSS", "/proc/self/status"))
    free = 1024 * sum(int(each) for name, file in told for each in _found(rf"^{name}:\s+(\d+)", file))
    return min([free or machine_memory() or 0, *_control_groups(), *_slurm()])


def _control_groups(root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> list[int]:
    """The limits of this process's control groups (version 2), for example of a container, service or cluster job."""
    # not the group of this step (srun --ntasks=1), which has only a part of the memory for the job's processes
    group = Path(root, *_found(r"^0::/(.*?)(?:/step_|$)", own))
    return [int(limit) for each in (group, *group.parents) for limit in _found(r"^\d+", each / "memory.max")]


def _slurm() -> list[int]:
    """Memory that Slurm allocated to the job on this machine, given in MiB, or in MiB per core."""
    # cores as in 16(x2),8, for the first machine; SLURM_CPUS_ON_NODE has only those of this task
    names = ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_JOB_CPUS_PER_NODE")
    node, core, cores = (int("".join(re.findall(r"^\d+", os.environ.get(name, ""))) or 0) for name in names)
    return [2**20 * (node or core * cores)] if node or core * cores else []


def _found(pattern: str, file: str | Path) -> list[str]:
    """Matches in a file of the system; empty if the file does not exist."""
    return re.findall(pattern, Path(file).read_text(), re.MULTILINE) if Path(file).is_file() else []
