"""Refuses checkpoints that expand to far more than the size of the file, before anything is copied from them.

A tensor with strides of 0 repeats one number as often as its shape says, a pickle may refer to the same list or tensor
any number of times, and a sparse tensor stores no bytes for its zeros.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

MOST_NODES = 10_000_000  # values and containers, counted with repetition
DEEPEST = 100  # nesting of containers
MOST_REPEATED = 4  # bytes of all tensors / bytes of the file; weights shared by two layers count twice
FREE_BYTES = 2**26  # always allowed


class _Size(NamedTuple):
    nodes: int
    bytes: int
    depth: int


def refuse_expanding(content: Any, path: Path) -> None:
    """Refuse contents that would take far more memory, once expanded, than the file has bytes.

    Args:
        content: of the file, as loaded by torch.

    Raises:
        ValueError: the contents are too large, or a tensor does not hold plain numbers in memory.
    """
    size = _size(content, {}, 0)
    if size.nodes > MOST_NODES:
        raise ValueError(f"it names {size.nodes} values")
    if size.bytes > FREE_BYTES + MOST_REPEATED * path.stat().st_size:
        raise ValueError(f"its {path.stat().st_size} bytes hold tensors of {size.bytes} bytes")


def _size(value: Any, known: dict[int, _Size], depth: int) -> _Size:
    """The expanded size of a value with everything that it refers to; each container is visited once."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise ValueError(f"a tensor is {value.layout} on {value.device}")
        return _Size(1, value.numel() * value.element_size(), 0)
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return _Size(1, 0, 0)
    if id(value) not in known:
        known[id(value)] = _Size(0, 0, 0)  # a container that contains itself is not visited again
        parts: Iterable[Any] = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        if depth > DEEPEST:
            raise ValueError(f"its values are nested more than {DEEPEST} deep")
        sizes = [_size(each, known, depth + 1) for each in parts]
        deepest = 1 + max((each.depth for each in sizes), default=0)
        known[id(value)] = _Size(1 + sum(each.nodes for each in sizes), sum(each.bytes for each in sizes), deepest)
    if depth + known[id(value)].depth > DEEPEST:
        raise ValueError(f"its values are nested more than {DEEPEST} deep")
    return known[id(value)]
