"""Memory that this process has used, and memory that is available to it."""

import os
import re
import resource
import sys
from pathlib import Path

import torch

from restore.data.setting_bounds import machine_memory


def peak_bytes(device_type: str) -> int:
    """Peak memory so far: what PyTorch reserved on a GPU, else the resident memory of this process."""
    if device_type == "cuda":
        return int(torch.cuda.max_memory_reserved())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts in bytes


def available_bytes(device_type: str) -> int:
    """Memory available to a process like this one: the least that the system names."""
    if device_type == "cuda":
        return int(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved())
    # of the machine, with what this process has already; where the system does not tell, what is built in
    told = (("MemAvailable", "/proc/meminfo"), ("VmRSS", "/proc/self/status"))
    free = 1024 * sum(int(each) for name, file in told for each in _found(rf"^{name}:\s+(\d+)", file))
    return min([free or machine_memory() or 0, *_control_groups(), *_slurm()])


def _control_groups(root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> list[int]:
    """The limits of this process's control groups (version 2), as of a container, a service or a cluster job."""
    # the group of this step (srun --ntasks=1) has a part of the memory that the job's processes will have
    group = Path(root, *_found(r"^0::/(.*?)(?:/step_|$)", own))
    return [int(limit) for each in (group, *group.parents) for limit in _found(r"^\d+", each / "memory.max")]


def _slurm() -> list[int]:
    """Memory that Slurm gave the job on this machine: in MiB, or in MiB for each core."""
    # cores as in 16(x2),8: of the first machine; SLURM_CPUS_ON_NODE holds only those of this one task
    names = ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_JOB_CPUS_PER_NODE")
    node, core, cores = (int("".join(re.findall(r"^\d+", os.environ.get(name, ""))) or 0) for name in names)
    return [2**20 * (node or core * cores)] if node or core * cores else []


def _found(pattern: str, file: str | Path) -> list[str]:
    """In a file of the system; nothing where it is another system."""
    return re.findall(pattern, Path(file).read_text(), re.MULTILINE) if Path(file).is_file() else []
