"""Reads pairs for translation at one size: images as colours, label maps as classes."""

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
        labels: how label maps are read; None if the inputs are images.
        degradations: compute the input from single photos.
        side: length of the shorter side after resizing, in pixels; None keeps the size.
    """

    labels: Labels | None = None
    degradations: "Sequence[Degradation]" = ()
    side: int | None = None

    @property
    def channels(self) -> int:
        """Number of channels of lq."""
        return 3 if self.labels is None else self.labels.channels

    def read(self, pair: Pair, images: Sequence[Tensor] | None = None) -> DecodedPair:
        """Read a pair and resize it, images bicubically, label maps by nearest neighbour.

        Args:
            images: the pair's decoded images, gt first, uint8 (3, H, W), if the caller has already read them.

        Raises:
            FileNotFoundError, ValueError: an unreadable file, or an invalid label map; the message names the path.
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
        """Decode the images, except a label map in its own file, which would lose its indices as colours."""
        files = pair.files if self.labels is None else pair.files[:1]
        return pair.split([read_rgb8(file) for file in files])

    def _made(self, gt: Tensor) -> DecodedPair:
        """The pair, with lq only if all degradations are fixed, so that one lq serves every sample."""
        if not all(getattr(each, "is_fixed", False) for each in self.degradations):
            return DecodedPair(gt, None, "")
        lq, words = degrade(gt, 1, self.degradations, np.random.default_rng(0))
        return DecodedPair(gt, (lq * 255).round().to(torch.uint8), words)

    def recipe(self) -> dict[str, Any]:
        """The settings that :meth:`read` depends on, as plain values by name."""
        fixed = all(getattr(each, "is_fixed", False) for each in self.degradations)
        made = [{"_target_": type(each).__name__, **vars(each)} for each in self.degradations] if fixed else "drawn"
        labels = {} if self.labels is None else self.labels.settings()
        labels.pop("one_hot", None)  # concerns only the network's input
        return {"load_size": self.side, "degradations": made, **labels}

    def encode(self, lq: Tensor) -> Tensor:
        """Encode lq as the network's input: float32, (channels, h, w), [0, 1]."""
        return to_float(lq) if self.labels is None else self.labels.encode(lq)


def to_side(pixels: Tensor, side: int | None) -> Tensor:
    """Resize uint8 (3, H, W) bicubically so that the shorter side has ``side`` pixels; None changes nothing."""
    scale, size = _scale_and_size(pixels, side)
    if size == tuple(pixels.shape[1:]):
        return pixels
    return resize(pixels.float(), scale, size=size).clamp(0, 255).add(0.5).floor().to(torch.uint8)


def labels_to_side(labels: Tensor, side: int | None) -> Tensor:
    """Resize classes, (1, H, W), like :func:`to_side` but by nearest neighbour."""
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
