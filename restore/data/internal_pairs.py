"""Training pairs from a single image: the image and smaller copies of it, each with its own downscaled version.

Shocher, Cohen, Irani, CVPR 2018, section 3.1; ``hr_father`` and ``lr_son`` are the paper's terms.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from restore.data.sampling import flip_and_turn, generator_of_batch, generator_of_sample
from restore.io.errors import SettingError
from restore.ops.resize import resize

Shrink = Callable[[Tensor], Tensor]

LEVELS = 6  # fathers made from one image, from full size to half size

# Rows and columns left out at the top and left of a father before it is downscaled, because every offset gives another
# son. The fourth, (1, 1), is that of the reconstruction error, whose son must not be among those trained on. On Set5 x2
# butterfly, 33.57 dB against 33.43 with (0, 0) alone (800 steps of 128 px).
OFFSETS = ((0, 0), (0, 1), (1, 0))
SHIFTED_SIDES = 16, 512  # px, shorter and longer side; smaller ones would be all border, larger ones are varied enough


class FatherAndSon(NamedTuple):
    """One level of a pyramid: an ``hr_father``, float (3, H, W), and its ``lr_son``, perhaps enlarged to that size."""

    father: Tensor
    son: Tensor


class Pyramids(NamedTuple):
    """The levels that crops are cut from, starting at batch ``first``.

    Attributes:
        factor: father side / side of the son as it was made. zoom: father side / side of the son in ``levels``.
    """

    first: int
    factor: float
    zoom: int
    levels: list[FatherAndSon]


@dataclass(frozen=True, kw_only=True)
class CropSettings:
    """Size, number and noise of the training crops.

    Attributes:
        patch_size: side of a crop in pixels of the father; limited by the father's shorter side.
        batch_size: crops per step, all from the same level.
        noise: standard deviation of Gaussian noise added to the sons, for noisy photos (the paper: 0.0125).

    Raises:
        SettingError: a value is out of bounds.
    """

    patch_size: int = 128
    batch_size: int = 1
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.patch_size < 1:
            raise SettingError("data.patch_size", self.patch_size, "at least 1 pixel")
        if self.batch_size < 1:
            raise SettingError("data.batch_size", self.batch_size, "at least 1 crop")
        if not 0 <= self.noise < 1:
            raise SettingError("data.noise", self.noise, "at least 0 and below 1, for example 0.0125")


class InternalPairs(Dataset[dict[str, Any]]):
    """Crop ``i`` of a run is a function of (seed, i) and of the pyramids in use at its batch.

    Attributes:
        pyramids: ordered by their first batch; each replaces the one before.
    """

    def __init__(self, settings: CropSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.pyramids: list[Pyramids] = []

    def __getitem__(self, i: int) -> dict[str, Any]:
        batch = i // self.settings.batch_size
        _, factor, zoom, levels = next(each for each in reversed(self.pyramids) if each.first <= batch)
        father, son = levels[self._level(levels, batch)]
        random = generator_of_sample(self.seed, i)
        side = min(max(1, self.settings.patch_size // zoom), *son.shape[1:])
        top, left = (int(random.integers(length - side + 1)) for length in son.shape[1:])
        symmetry = int(random.integers(8))
        lq = son[:, top : top + side, left : left + side]
        gt = father[:, zoom * top : zoom * (top + side), zoom * left : zoom * (left + side)]
        if self.settings.noise:
            lq = lq + _noise(side, factor / zoom, self.settings.noise, int(random.integers(2**31)))
        # contiguous, because collating a view would copy whole rows of the father
        return {
            "lq": flip_and_turn(lq, symmetry).contiguous(),
            "gt": flip_and_turn(gt, symmetry).contiguous(),
            "name": "",
        }

    def _level(self, levels: list[FatherAndSon], batch: int) -> int:
        """Index drawn in proportion to the pixel counts; one level per batch, so that its crops have one size."""
        pixels = [level.father[0].numel() for level in levels]
        share = [count / sum(pixels) for count in pixels]
        return int(generator_of_batch(self.seed, batch).choice(len(levels), p=share))


def pyramid(father: Tensor, shrink: Shrink, factor: float, zoom: int) -> Iterator[FatherAndSon]:
    """The image, float (3, H, W), at :data:`LEVELS` sizes from full to half, each with its sons.

    There is one for each of :data:`OFFSETS` if the sides at that size are within :data:`SHIFTED_SIDES`, else one.

    Args:
        shrink: makes a son ``factor`` times smaller than its father.
        zoom: 1 to enlarge sons to the size of their fathers; or ``factor``, to leave them as they are and to cut
            fathers at the bottom and right to a multiple of it.
    """
    for k in range(LEVELS):
        size = 0.5 ** (k / (LEVELS - 1))
        smaller = resize(father, size) if k else father
        least, most = SHIFTED_SIDES
        is_shifted = min(smaller.shape[1:]) >= least and max(smaller.shape[1:]) <= most
        for down, right in OFFSETS if is_shifted else OFFSETS[:1]:
            part = smaller[:, down:, right:]
            height, width = (length // zoom * zoom for length in part.shape[1:])
            part = part[:, :height, :width]
            son = shrink(part)
            yield FatherAndSon(part, son if zoom > 1 else resize(son, factor, size=(height, width)))


def _noise(side: int, factor: float, deviation: float, seed: int) -> Tensor:
    """White noise at the size of a son, enlarged by ``factor`` as the son is."""
    small = math.ceil(side / factor)
    white = torch.randn(3, small, small, generator=torch.Generator().manual_seed(seed))
    return white * deviation if factor == 1 else resize(white * deviation, factor, size=(side, side))
