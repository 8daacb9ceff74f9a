"""Refuses checkpoints that say more than they hold, before anything is copied out of them.

A tensor whose strides are 0 shows one number as often as its shape says, a pickle may name the same list or the same
tensor any number of times, and a sparse tensor has no bytes for its zeros.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

MOST_NODES = 10_000_000  # values and containers, with every repetition counted
DEEPEST = 100  # containers inside each other
MOST_REPEATED = 4  # bytes of all tensors / bytes of the file; weights shared by two layers count twice
FREE_BYTES = 2**26  # which do no harm


class _Size(NamedTuple):
    nodes: int
    bytes: int
    depth: int


def refuse_expanding(content: Any, path: Path) -> None:
    """Refuse what takes far more memory, once it is written out, than the file has bytes.

    Args:
        content: of the file, as torch has loaded it.

    Raises:
        ValueError: it does, or a tensor is none of plain numbers in memory.
    """
    size = _size(content, {}, 0)
    if size.nodes > MOST_NODES:
        raise ValueError(f"it names {size.nodes} values")
    if size.bytes > FREE_BYTES + MOST_REPEATED * path.stat().st_size:
        raise ValueError(f"its {path.stat().st_size} bytes hold tensors of {size.bytes} bytes")


def _size(value: Any, known: dict[int, _Size], depth: int) -> _Size:
    """How large the value is with all that it names; each container is walked through once."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise ValueError(f"a tensor is {value.layout} on {value.device}")
        return _Size(1, value.numel() * value.element_size(), 0)
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return _Size(1, 0, 0)
    if id(value) not in known:
        known[id(value)] = _Size(0, 0, 0)  # one that holds itself is not walked through again
        parts: Iterable[Any] = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        if depth > DEEPEST:
            raise ValueError(f"its values are nested more than {DEEPEST} deep")
        sizes = [_size(each, known, depth + 1) for each in parts]
        deepest = 1 + max((each.depth for each in sizes), default=0)
        known[id(value)] = _Size(1 + sum(each.nodes for each in sizes), sum(each.bytes for each in sizes), deepest)
    if depth + known[id(value)].depth > DEEPEST:
        raise ValueError(f"its values are nested more than {DEEPEST} deep")
    return known[id(value)]
