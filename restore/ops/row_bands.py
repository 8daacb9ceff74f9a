"""Runs layers on large maps on a CPU in bands of rows, so that the intermediate maps stay in its cache.

The best height of a band depends on caches, threads and layers. So several heights are tried in turn on the first
maps, and the one with the shortest time per pixel is kept for the process. Wherever this was tried (AVX2 and AVX512),
the values were identical to the last bit at all heights; other processors may round differently.
"""

import time
from collections.abc import Iterator
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TRIED = tuple(2**20 << k for k in range(5))  # sizes to try, in bytes of the part of a map in one band
LEAST_BYTES = 2**23  # minimum size of a map; smaller maps fit into the caches and are computed at once
LEAST_ROWS = 8  # minimum height of a band
LARGEST_PART = 8  # maximum size of a band is 1/8 of a map, so that the layers need little additional memory
TRIALS = 3  # number of trials per size


class Trials:
    """Finds the fastest size of a band, by timing bands as they are computed."""

    def __init__(self) -> None:
        self._seconds: dict[int, list[float]] = {size: [] for size in TRIED}

    def size(self, limit: int) -> int:
        """Bytes of the next band, at most ``limit``: the size tried least, or the fastest once all have been tried."""
        possible = [size for size in TRIED if size <= limit] or [TRIED[0]]
        least = min(possible, key=lambda size: len(self._seconds[size]))
        if len(self._seconds[least]) < TRIALS:
            return least
        return min(possible, key=lambda size: min(self._seconds[size]))

    def add(self, size: int, seconds: float) -> None:
        """Record that a band of this size took ``seconds`` per byte."""
        if len(self._seconds[size]) < TRIALS:
            self._seconds[size].append(seconds)


@cache
def keep_freed_memory() -> None:
    """Make this process reuse freed memory blocks of up to 31 MiB for the next band or map.

    The C library of Linux would otherwise return them to the system, and allocating them again takes as long as filling
    them. Its threshold follows the largest block freed so far.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@cache
def _trials(layers: str, channels: int, threads: int) -> Trials:
    return Trials()


def pays_for(x: Tensor) -> bool:
    """Whether layers should run on this map, (N, C, H, W), in bands."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or x.device.type != "cpu" or len(x) != 1:
        return False
    return x.nbytes >= LEAST_BYTES and x.is_contiguous(memory_format=torch.channels_last)


def bands(x: Tensor, layers: str) -> Iterator[tuple[int, int]]:
    """Split a map, (1, C, H, W), into bands of rows [top, bottom), top to bottom; all heights but the last are even.

    Args:
        layers: name of the layers that run on each band; the best height is found per name.
    """
    height, row = x.shape[-2], x.nbytes // x.shape[-2]
    keep_freed_memory()
    trials = _trials(layers, x.shape[1], torch.get_num_threads())
    top = 0
    while top < height:
        size = trials.size(limit=x.nbytes // LARGEST_PART)
        rows = max(LEAST_ROWS, size // row // 2 * 2)
        bottom = min(height, top + rows)
        started = time.thread_time()  # stops while another program has the CPU
        yield top, bottom
        if bottom - top == rows or top == 0:
            trials.add(size, (time.thread_time() - started) / (bottom - top) / row)
        top = bottom


def convolved(conv: nn.Conv2d, x: Tensor, top: int, bottom: int) -> Tensor:
    """Rows [top, bottom) of an unstrided convolution of the whole map: (1, C, H, W) -> (1, C', bottom - top, W)."""
    radius = conv.kernel_size[0] // 2
    start, stop = top - radius, bottom + radius
    piece = x[..., max(0, start) : min(stop, x.shape[-2]), :]
    return _between(conv, piece, above=max(0, -start), below=max(0, stop - x.shape[-2]))


def convolved_twice(first: nn.Conv2d, second: nn.Conv2d, x: Tensor, top: int, bottom: int) -> Tensor:
    """Rows [top, bottom) of conv - ReLU - conv of the whole map; both convolutions as for :func:`convolved`."""
    radius = second.kernel_size[0] // 2
    start, stop = top - radius, bottom + radius
    inner = max(0, start), min(stop, x.shape[-2])
    hidden = F.relu(convolved(first, x, *inner), inplace=True)
    return _between(second, hidden, above=inner[0] - start, below=stop - inner[1])


def _between(conv: nn.Conv2d, piece: Tensor, *, above: int, below: int) -> Tensor:
    """A convolution with zero rows above and below, as many as lie outside the map."""
    if above or below:
        piece = F.pad(piece, (0, 0, above, below))
    return F.conv2d(piece, conv.weight, conv.bias, padding=(0, conv.kernel_size[1] // 2))
