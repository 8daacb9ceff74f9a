"""Large maps on a processor in bands of rows, so that what lies between two layers stays in its cache.

How high a band is best depends on caches, threads and layers: while the first maps are computed, bands of several
heights take turns, and the one that takes the least time per pixel is kept for the process. Values were the same to
the last bit at all heights where this was tried (AVX2 and AVX512); that another processor rounds alike is not known.
"""

import time
from collections.abc import Iterator
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TRIED = tuple(2**20 << k for k in range(5))  # bytes of a band of a map
LEAST_BYTES = 2**23  # of a map; below, as much as the caches hold, it is computed at once
LEAST_ROWS = 8  # of a band
LARGEST_PART = 8  # of a map, a band at most: what its layers need beside it stays little
TRIALS = 3  # of each size


class Trials:
    """Which size of a band takes the least time, found while bands are computed."""

    def __init__(self) -> None:
        self._seconds: dict[int, list[float]] = {size: [] for size in TRIED}

    def size(self, limit: int) -> int:
        """Bytes of the next band, within a limit: the one tried least, or the fastest when all have been tried."""
        possible = [size for size in TRIED if size <= limit] or [TRIED[0]]
        least = min(possible, key=lambda size: len(self._seconds[size]))
        if len(self._seconds[least]) < TRIALS:
            return least
        return min(possible, key=lambda size: min(self._seconds[size]))

    def add(self, size: int, seconds: float) -> None:
        """A band of this size took so many seconds for each byte of it."""
        if len(self._seconds[size]) < TRIALS:
            self._seconds[size].append(seconds)


@cache
def keep_freed_memory() -> None:
    """Let the memory of a freed band or map of up to 31 MiB be the next one's, in this process.

    The C library of Linux else gives it back to the system, and to get it again takes as long as to fill it. What it
    keeps goes by the largest block that was freed so far.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@cache
def _trials(layers: str, channels: int, threads: int) -> Trials:
    return Trials()


def pays_for(x: Tensor) -> bool:
    """Whether layers on this map, (N, C, H, W), are better computed in bands."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or x.device.type != "cpu" or len(x) != 1:
        return False
    return x.nbytes >= LEAST_BYTES and x.is_contiguous(memory_format=torch.channels_last)


def bands(x: Tensor, layers: str) -> Iterator[tuple[int, int]]:
    """Bands of rows of a map, (1, C, H, W), as [top, bottom), from top to bottom, of an even height but the last.

    Args:
        layers: a name of what is computed of each, for which the height is found.
    """
    height, row = x.shape[-2], x.nbytes // x.shape[-2]
    keep_freed_memory()
    trials = _trials(layers, x.shape[1], torch.get_num_threads())
    top = 0
    while top < height:
        size = trials.size(limit=x.nbytes // LARGEST_PART)
        rows = max(LEAST_ROWS, size // row // 2 * 2)
        bottom = min(height, top + rows)
        started = time.thread_time()  # the clock does not run while another program has the processor
        yield top, bottom
        if bottom - top == rows or top == 0:
            trials.add(size, (time.thread_time() - started) / (bottom - top) / row)
        top = bottom


def convolved(conv: nn.Conv2d, x: Tensor, top: int, bottom: int) -> Tensor:
    """Rows [top, bottom) of a convolution without stride of the whole map: (1, C, H, W) -> (1, C', bottom - top, W)."""
    radius = conv.kernel_size[0] // 2
    start, stop = top - radius, bottom + radius
    piece = x[..., max(0, start) : min(stop, x.shape[-2]), :]
    return _between(conv, piece, above=max(0, -start), below=max(0, stop - x.shape[-2]))


def convolved_twice(first: nn.Conv2d, second: nn.Conv2d, x: Tensor, top: int, bottom: int) -> Tensor:
    """Rows [top, bottom) of conv - ReLU - conv of the whole map, of convolutions as of :func:`convolved`."""
    radius = second.kernel_size[0] // 2
    start, stop = top - radius, bottom + radius
    inner = max(0, start), min(stop, x.shape[-2])
    hidden = F.relu(convolved(first, x, *inner), inplace=True)
    return _between(second, hidden, above=inner[0] - start, below=stop - inner[1])


def _between(conv: nn.Conv2d, piece: Tensor, *, above: int, below: int) -> Tensor:
    """A convolution with rows of zeros above and below, as many as lie outside of the map."""
    if above or below:
        piece = F.pad(piece, (0, 0, above, below))
    return F.conv2d(piece, conv.weight, conv.bias, padding=(0, conv.kernel_size[1] // 2))
