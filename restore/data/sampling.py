"""Order and randomness of a training run as functions of (seed, sample number) instead of random streams.

Sample number i of a run (its image, crop, flips and degradation) depends on (seed, i) alone. So what the network
sees does not depend on the number of loader workers, interruptions and processes.
"""

import signal
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from restore.io.errors import SettingError


@lru_cache(maxsize=4)
def _order(seed: int, count: int, round_: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 0, round_]).permutation(count)


def image_of_sample(seed: int, i: int, count: int) -> int:
    """The image of sample ``i``, an index below ``count``: each image once per round, every round in a new order."""
    round_, position = divmod(i, count)
    return int(_order(seed, count, round_)[position])


def generator_of_sample(seed: int, i: int) -> np.random.Generator:
    """Random generator of sample ``i``, independent of the orders and of all other samples."""
    return np.random.default_rng([seed, 1, i])


def generator_of_batch(seed: int, batch: int) -> np.random.Generator:
    """Random generator shared by all samples of a batch."""
    return np.random.default_rng([seed, 2, batch])


def flip_and_turn(image: Tensor, code: int) -> Tensor:
    """One of the 8 symmetries of a square, ``code`` in 0..7, for (..., H, W); turns by 90 degrees swap the sides."""
    if code & 1:
        image = image.flip(-1)
    if code & 2:
        image = image.flip(-2)
    if code & 4:
        image = image.transpose(-1, -2)
    return image


class RunSampler(Sampler[list[int]]):
    """Batches of sample numbers for a whole run, which is one long epoch.

    Batch k is ``range(k * batch_size + rank, (k + 1) * batch_size, world)``, so that all processes together see one
    global batch. A resumed run starts at batch ``start``; ``len`` stays the total, because Lightning expects the total.

    Args:
        batches: number in the run; each is an optimiser step or, with gradient accumulation, a part of one.
        batch_size: over all processes; must be a multiple of ``world``.
    """

    def __init__(self, batches: int, batch_size: int, *, start: int = 0, rank: int = 0, world: int = 1) -> None:
        if batch_size < 1 or batch_size % world:
            raise SettingError(
                "data.batch_size",
                batch_size,
                f"a positive multiple of the {world} processes",
                "it counts the samples of all processes together",
            )
        self.batches, self.batch_size = batches, batch_size
        self.start, self.rank, self.world = start, rank, world

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        for k in range(self.start, self.batches):
            yield list(range(k * self.batch_size + self.rank, (k + 1) * self.batch_size, self.world))


class ShareSampler(Sampler[int]):
    """Every ``world``-th index, and none twice, so that each image counts once in a score.

    If some process would get no image, ``len`` raises in every process: Lightning would skip a set of length 0, and
    with it the collective sum of the scores.
    """

    def __init__(self, count: int, *, rank: int = 0, world: int = 1) -> None:
        self.indices, self.is_scarce = range(rank, count, world), count < world

    def __len__(self) -> int:
        if self.is_scarce:
            raise TypeError("some process has no image")
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def one_thread(worker: int) -> None:
    """Run a loader worker on one thread, because the other cores serve the training and the other workers.

    Signals to the process group are ignored: the training process handles them, and ends its workers when it stops.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
