"""Collective calls between the processes of a training; in a single process each returns at once.

A collective call must be made by all processes, in the same order, with values of the same shape.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Rank of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def leave() -> None:
    """Leave the process group: a process that exits as a member may be aborted by the group's threads."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def barrier() -> None:
    """Wait until all processes have made this call."""
    if world_size() > 1:
        dist.barrier()


def all_reduce_mean(values: Tensor) -> Tensor:
    """Mean over the processes, elementwise.

    Args:
        values: any shape, the same in all processes; unchanged.

    Returns:
        The same shape, without a gradient; with one process ``values`` itself.
    """
    if world_size() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


def all_reduce_min(values: Tensor) -> Tensor:
    """Minimum over the processes, elementwise.

    Args:
        values: any shape, the same in all processes; unchanged.

    Returns:
        The same shape, without a gradient; with one process ``values`` itself.
    """
    if world_size() == 1:
        return values
    found = values.detach().clone()
    dist.all_reduce(found, dist.ReduceOp.MIN)
    return found


def broadcast(value: Any, source: int) -> Any:
    """The value of process ``source``; any picklable object."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=source)
    return box[0]


def all_gather(value: Any) -> list[Any]:
    """The values of all processes, in the order of their ranks; any picklable objects."""
    found = [value] * world_size()
    if len(found) > 1:
        dist.all_gather_object(found, value)
    return found


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their means over the processes, in one message; for parameters outside the strategy."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if world_size() == 1 or not gradients:
        return
    together = all_reduce_mean(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, averaged in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(averaged.view_as(gradient))


def share_of_batch(drawn: Tensor) -> Tensor:
    """This process's rows of random numbers drawn for the global batch.

    Args:
        drawn: the first axis runs over the samples of all processes, in the order of their ranks.
    """
    return drawn[rank() :: world_size()]
