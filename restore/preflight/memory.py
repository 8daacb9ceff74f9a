"""Memory that this process has used, and memory that is available to it."""

import os
import re
import resource
import sys
from itertools import accumulate, takewhile
from pathlib import Path

import torch


def peak_bytes(device_type: str) -> int:
    """Peak memory so far: what PyTorch reserved on a GPU, else the resident memory of this process."""
    if device_type == "cuda":
        return int(torch.cuda.max_memory_reserved())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts in bytes


def available_bytes(device_type: str) -> int | None:
    """Memory available to a process like this one; None where the system does not tell."""
    if device_type == "cuda":
        return int(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved())
    limits = [limit for limit in (_free(), _control_group(), _slurm()) if limit is not None]
    return min(limits, default=None)


def _free() -> int | None:
    """Free memory of the machine, with what this process has already."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:  # not Linux
        return None
    return int(lines["MemAvailable"].split()[0]) * 1024 + resident


def _control_group(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """The smallest limit of this process's control groups, for example of a container, a service or a cluster job.

    Args:
        root: of control groups version 2. own: the file that names those of this process.
    """
    try:
        named = [line.removeprefix("0::/") for line in own.read_text().splitlines() if line.startswith("0::/")]
    except FileNotFoundError:  # not Linux
        return None
    # the group of this step (srun --ntasks=1) has a part of the memory that the job's processes will have
    parts = takewhile(lambda part: not part.startswith("step_"), Path(*named).parts)
    groups = list(accumulate(parts, Path.joinpath, initial=root))
    limits = [(group / "memory.max").read_text().strip() for group in groups if (group / "memory.max").is_file()]
    return min((int(limit) for limit in limits if limit != "max"), default=None)


def _slurm() -> int | None:
    """Memory that Slurm gave the job on this machine: in MiB, or in MiB for each core."""
    own = os.environ
    node, core = (own.get(f"SLURM_MEM_PER_{each}", "") for each in ("NODE", "CPU"))
    if node.isdecimal() and int(node):
        return int(node) * 2**20
    # as in 16(x2),8: of the first machine; SLURM_CPUS_ON_NODE holds only those of this one task
    cores = re.match(r"\d+", own.get("SLURM_JOB_CPUS_PER_NODE", ""))
    return int(core) * int(cores[0]) * 2**20 if cores and core.isdecimal() and int(core) else None
