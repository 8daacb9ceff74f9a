"""The paired data set of translation: crops numbered through a whole run, and whole images for validation.

A sample is as :mod:`restore.data.datasets` says, with lq (in_channels, h, w) and gt (3, h, w) of one size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from restore.data.datasets import Sample, degrade
from restore.data.labels import Labels
from restore.data.pairs import Pair
from restore.data.sampling import generator_of_sample, image_of_sample
from restore.image.picture import to_float
from restore.image.reading import read_rgb8
from restore.ops.resize import resize

if TYPE_CHECKING:  # see paired_images
    from restore.degradations.basic import Degradation


@dataclass(frozen=True)
class Drawn:
    """A pair as it is kept in memory.

    Attributes:
        gt: uint8, (3, H, W).
        lq: uint8, (3, H, W) colours or (1, H, W) classes; None where each sample makes its own.
        word: how lq was made.
    """

    gt: Tensor
    lq: Tensor | None
    word: str

    @property
    def nbytes(self) -> int:
        """Of both pictures."""
        return self.gt.nbytes + (0 if self.lq is None else self.lq.nbytes)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a pair's files become what the network sees.

    Attributes:
        labels: how label maps are read; None for inputs that are pictures.
        degradations: make the input of photos that stand alone.
    """

    labels: Labels | None = None
    degradations: "Sequence[Degradation]" = ()

    @property
    def channels(self) -> int:
        """Of lq."""
        return 3 if self.labels is None else self.labels.channels

    def draw(self, pair: Pair, side: int | None) -> Drawn:
        """Read a pair and bring its shorter side to ``side`` pixels, or leave its size; label maps by nearest alone.

        Raises:
            FileNotFoundError, ValueError: what cannot be read, by path.
        """
        gt, *more = pair.apart([read_rgb8(file) for file in pair.files[:1]])
        gt = to_side(gt, side)
        if pair.lq is None:
            return self._made(gt)
        if self.labels is None:
            return Drawn(gt, to_side(more[0] if more else read_rgb8(pair.lq), side), "prepared")
        labels = self.labels.snap(more[0], pair.gt) if more else self.labels.read(pair.lq)
        return Drawn(gt, labels_to_side(labels, side), "prepared")

    def _made(self, gt: Tensor) -> Drawn:
        """Made once and for all where no degradation draws anything."""
        if not all(getattr(each, "is_fixed", False) for each in self.degradations):
            return Drawn(gt, None, "")
        lq, word = degrade(gt, 1, self.degradations, np.random.default_rng(0))
        return Drawn(gt, (lq * 255).round().to(torch.uint8), word)

    def seen(self, lq: Tensor) -> Tensor:
        """What the network sees of lq: float32, (channels, h, w), [0, 1]."""
        return to_float(lq) if self.labels is None else self.labels.encode(lq)


def to_side(pixels: Tensor, side: int | None) -> Tensor:
    """Resize uint8 (3, H, W) bicubically, so that the shorter side has ``side`` pixels; None changes nothing."""
    scale, size = _scale_and_size(pixels, side)
    if size == tuple(pixels.shape[1:]):
        return pixels
    return resize(pixels.float(), scale, size=size).clamp(0, 255).add(0.5).floor().to(torch.uint8)


def labels_to_side(labels: Tensor, side: int | None) -> Tensor:
    """As :func:`to_side`, by nearest: (1, H, W) of classes."""
    scale, size = _scale_and_size(labels, side)
    rows, columns = (
        ((torch.arange(new, dtype=torch.float64) + 0.5) / scale).floor().long().clamp(max=old - 1)
        for new, old in zip(size, labels.shape[1:], strict=True)
    )
    return labels[:, rows][:, :, columns]


def _scale_and_size(pixels: Tensor, side: int | None) -> tuple[float, tuple[int, int]]:
    height, width = pixels.shape[1:]
    if side is None or side == min(height, width):
        return 1.0, (height, width)
    scale = side / min(height, width)
    return scale, (max(side, round(height * scale)), max(side, round(width * scale)))


class Kept:
    """Pairs drawn at one size, kept in memory while they fit; filled before the loader's workers start.

    Args:
        reading: how to draw one.
        side: of the shorter side in pixels, or None.
        cache_gb: room in GiB.

    Attributes:
        room, kept_bytes: bytes that are left, and taken.
    """

    def __init__(self, reading: Reading, side: int | None, cache_gb: float) -> None:
        self.reading, self.side = reading, side
        self.room = int(cache_gb * 2**30)
        self.kept_bytes = 0
        self._is_full = self.room == 0
        self._drawn: dict[Pair, Drawn] = {}

    def keep(self, pair: Pair) -> None:
        """Draw a pair and remember it while there is room; label maps are read in any case, to see that they are some.

        Raises:
            ValueError: as :meth:`Reading.draw`.
        """
        if self._is_full and self.reading.labels is None:
            return
        drawn = self.reading.draw(pair, self.side)
        self._is_full = self._is_full or drawn.nbytes > self.room
        if not self._is_full and pair not in self._drawn:
            self.room -= drawn.nbytes
            self.kept_bytes += drawn.nbytes
            self._drawn[pair] = drawn

    def draw(self, pair: Pair) -> Drawn:
        """The pair, from memory or from its files."""
        drawn = self._drawn.get(pair)
        return self.reading.draw(pair, self.side) if drawn is None else drawn


class TranslationCrops(Dataset[Sample]):
    """Random square crops, mirrored half the time, the same on both sides; sample ``i`` is a function of (seed, i).

    Args:
        kept: the pairs at the size that crops are cut from.
        patch_size: side of the crop.
        flip: whether to mirror left and right.
        count: samples of the run.
    """

    def __init__(
        self, pairs: Sequence[Pair], kept: Kept, *, patch_size: int, flip: bool, count: int, seed: int
    ) -> None:
        self.pairs, self.kept, self.patch_size = pairs, kept, patch_size
        self.flip, self.count, self.seed = flip, count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Sample:
        pair = self.pairs[image_of_sample(self.seed, i, len(self.pairs))]
        random = generator_of_sample(self.seed, i)
        is_mirrored = bool(random.integers(2)) and self.flip
        drawn, reading = self.kept.draw(pair), self.kept.reading
        height, width = drawn.gt.shape[1:]
        top, left = (int(random.integers(side - self.patch_size + 1)) for side in (height, width))

        def cut(pixels: Tensor) -> Tensor:
            crop = pixels[:, top : top + self.patch_size, left : left + self.patch_size]
            return crop.flip(2) if is_mirrored else crop

        if drawn.lq is None:
            lq, word = degrade(drawn.gt, 1, reading.degradations, random)
            lq = cut(lq)
        else:
            lq, word = reading.seen(cut(drawn.lq)), drawn.word
        return {"lq": lq.contiguous(), "gt": to_float(cut(drawn.gt)), "name": pair.name, "degradation": word}


class TranslationImages(Dataset[Sample]):
    """Whole images in order.

    Args:
        side: what the shorter side is brought to, in pixels, or None to leave the size.
        seed: of degradations that draw.
    """

    def __init__(self, pairs: Sequence[Pair], reading: Reading, *, side: int | None, seed: int = 0) -> None:
        self.pairs, self.reading, self.side, self.seed = pairs, reading, side, seed

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> Sample:
        pair = self.pairs[i]
        drawn = self.reading.draw(pair, self.side)
        if drawn.lq is None:
            lq, word = degrade(drawn.gt, 1, self.reading.degradations, generator_of_sample(self.seed, i))
        else:
            lq, word = self.reading.seen(drawn.lq), drawn.word
        return {"lq": lq, "gt": to_float(drawn.gt), "name": pair.name, "degradation": word}
