"""What processes that train together tell each other; alone, each of these is free."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this one, from 0."""
    return dist.get_rank() if world() > 1 else 0


def meet() -> None:
    """Wait until all processes have come here."""
    if world() > 1:
        dist.barrier()


def mean(values: Tensor) -> Tensor:
    """Mean over the processes; all of them must ask, with the same shape."""
    if world() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world()


def least(values: Tensor) -> Tensor:
    """The least over the processes, element by element; all of them must ask, with the same shape."""
    if world() == 1:
        return values
    found = values.detach().clone()
    dist.all_reduce(found, dist.ReduceOp.MIN)
    return found


def from_process(value: Any, source: int) -> Any:
    """What process number ``source`` holds; all of them must ask."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=source)
    return box[0]


def from_all(value: Any) -> list[Any]:
    """What each process holds, in the order of their numbers; all of them must ask."""
    found = [value] * world()
    if len(found) > 1:
        dist.all_gather_object(found, value)
    return found


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their means over the processes, in one message; for parameters that no strategy reduces."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if world() == 1 or not gradients:
        return
    together = mean(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, averaged in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(averaged.view_as(gradient))


def share_of_batch(drawn: Tensor) -> Tensor:
    """Of what was drawn for every sample of the global batch, the part of this process's own samples.

    Args:
        drawn: first axis over the samples of all processes, in the order of their numbers.
    """
    return drawn[rank() :: world()]
