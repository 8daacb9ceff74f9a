"""Memory of this process and of its machine."""

import os
import resource
import sys
from pathlib import Path

import torch


def peak_bytes(device_type: str) -> int:
    """The most memory so far: what PyTorch took on an accelerator, else what this process had in the machine's."""
    if device_type == "cuda":
        return int(torch.cuda.max_memory_reserved())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts in bytes


def available_bytes(device_type: str) -> int | None:
    """What a process of its own may take there; None where nothing says so."""
    if device_type == "cuda":
        return int(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved())
    limits = [limit for limit in (_free(), _control_group(), _slurm()) if limit is not None]
    return min(limits, default=None)


def _free() -> int | None:
    """What the machine can give, this process's own included."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:  # not Linux
        return None
    return int(lines["MemAvailable"].split()[0]) * 1024 + resident


def _control_group() -> int | None:
    """The limit of a container or a cluster's job."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:  # none, or of version 1
        return None
    return None if limit == "max" else int(limit)


def _slurm() -> int | None:
    """What the job was given, in MiB."""
    given = os.environ.get("SLURM_MEM_PER_NODE", "")
    return int(given) * 2**20 if given.isdecimal() and int(given) else None
