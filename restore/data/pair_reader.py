"""Reads a pair of translation at one size: images as colours, label maps as classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from restore.data.datasets import degrade
from restore.data.labels import Labels
from restore.data.pair import DecodedPair, Pair
from restore.image.decoded_image import to_float
from restore.image.reading import read_rgb8
from restore.ops.resize import resize

if TYPE_CHECKING:  # see datasets
    from restore.degradations.basic import Degradation


@dataclass(frozen=True, kw_only=True)
class PairReader:
    """Reads the files of a pair at one size.

    Attributes:
        labels: how label maps are read; None for inputs that are images.
        degradations: make the input of single photos.
        side: the shorter side in pixels after reading; None keeps the files' size.
    """

    labels: Labels | None = None
    degradations: "Sequence[Degradation]" = ()
    side: int | None = None

    @property
    def channels(self) -> int:
        """Of lq."""
        return 3 if self.labels is None else self.labels.channels

    def read(self, pair: Pair, images: Sequence[Tensor] | None = None) -> DecodedPair:
        """Read a pair and resize it, images bicubically, label maps by nearest.

        Args:
            images: the pair's decoded images, gt first, uint8 (3, H, W), where the caller has read them.

        Raises:
            FileNotFoundError, ValueError: an unreadable file, not a valid label map; the path is named.
        """
        gt, *lq = images or self._decode(pair)
        gt = to_side(gt, self.side)
        if pair.lq is None:
            return self._made(gt)
        if self.labels is None:
            return DecodedPair(gt, to_side(lq[0], self.side), "prepared")
        labels = self.labels.read(pair.lq) if pair.lq_half is None else self.labels.snap(lq[0], pair.gt)
        return DecodedPair(gt, labels_to_side(labels, self.side), "prepared")

    def _decode(self, pair: Pair) -> list[Tensor]:
        """A label map in a file of its own is left out: as colours it would lose its indices."""
        files = pair.files if self.labels is None else pair.files[:1]
        return pair.split([read_rgb8(file) for file in files])

    def _made(self, gt: Tensor) -> DecodedPair:
        """With lq only where all degradations are fixed, so that one serves every sample."""
        if not all(getattr(each, "is_fixed", False) for each in self.degradations):
            return DecodedPair(gt, None, "")
        lq, words = degrade(gt, 1, self.degradations, np.random.default_rng(0))
        return DecodedPair(gt, (lq * 255).round().to(torch.uint8), words)

    def recipe(self) -> dict[str, Any]:
        """The settings by which :meth:`read` reads, plain, by name."""
        fixed = all(getattr(each, "is_fixed", False) for each in self.degradations)
        made = [{"_target_": type(each).__name__, **vars(each)} for each in self.degradations] if fixed else "drawn"
        labels = {} if self.labels is None else self.labels.settings()
        labels.pop("one_hot", None)  # of the network's input
        return {"load_size": self.side, "degradations": made, **labels}

    def encode(self, lq: Tensor) -> Tensor:
        """The network's input for lq: float32, (channels, h, w), [0, 1]."""
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
