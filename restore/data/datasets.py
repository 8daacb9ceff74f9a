"""The paired data set: training crops, numbered through a whole run, and whole images to validate and evaluate.

A sample is ``{"lq": float (3, h, w), "gt": float (C, scale h, scale w), "name": str, "degradation": str}``, values in
[0, 1].
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from restore.data.cache import ImageCache, PairSource
from restore.data.pair import DecodedPair, Pair
from restore.data.sampling import flip_and_turn, generator_of_sample, image_of_sample
from restore.image import reading
from restore.image.decoded_image import to_float
from restore.ops.resize import resize_8bit

if TYPE_CHECKING:  # kornia is slow to import, and few runs use degradations other than downscaling
    from restore.degradations.basic import Degradation


class Sample(TypedDict):
    """A training crop or a whole image; the module's docstring lists the fields."""

    lq: Tensor
    gt: Tensor
    name: str
    degradation: str


def degrade(
    gt: Tensor, scale: int, degradations: "Sequence[Degradation]", random: np.random.Generator
) -> tuple[Tensor, str]:
    """Make lq from an 8-bit gt: bicubic downscaling, then the given degradations, then rounding to 8-bit levels.

    The result of :class:`restore.degradations.basic.InterpolatedLowResolution` is not rounded.

    Args:
        gt: uint8, (C, H, W).
        scale: gt side / lq side; 1 means no downscaling.
        random: random numbers for the degradations.

    Returns:
        lq, float (C, h, w) in [0, 1], and a description of the degradations.
    """
    lq = to_float(resize_8bit(gt, 1 / scale) if scale > 1 else gt)
    words = []
    for degradation in degradations:
        lq, word = degradation(lq, random)
        words.append(word)
    if degradations and not any(getattr(each, "is_interpolated", False) for each in degradations):
        lq = lq.clamp(0, 1).mul(255).round().div(255)
    return lq, ", ".join(word for word in words if word)


class TrainingCrops(Dataset[Sample]):
    """Random square crops, flipped and turned; sample ``i`` is a function of (seed, i) alone.

    Where lq is made at scale 1, the degradations see up to ``margin`` pixels around the crop, as many as the widest of
    them needs and the image has, so that motion blur draws real content into the crop.

    Args:
        pairs: if lq exists, both images are cropped; otherwise lq is made from the gt crop.
        patch_size: side of the crop in gt pixels.
        count: number of samples in the run.
        source: source of decoded pairs; None decodes the files for each sample.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        scale: int,
        patch_size: int,
        count: int,
        seed: int,
        degradations: "Sequence[Degradation]" = (),
        source: PairSource | None = None,
    ) -> None:
        self.pairs, self.scale, self.patch_size, self.count, self.seed = pairs, scale, patch_size, count, seed
        self.degradations = degradations
        self.margin = max((getattr(each, "margin", 0) for each in degradations), default=0) if scale == 1 else 0
        self.source = source or ImageCache[Pair, DecodedPair]()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Sample:
        pair = self.pairs[image_of_sample(self.seed, i, len(self.pairs))]
        random = generator_of_sample(self.seed, i)
        symmetry = int(random.integers(8))
        decoded = self.source.get(pair, decode)
        cut = self._made if decoded.lq is None else self._prepared
        lq, gt, word = cut(decoded, symmetry, random)
        return {"lq": lq, "gt": to_float(gt), "name": pair.name, "degradation": word}

    def _made(self, pair: DecodedPair, symmetry: int, random: np.random.Generator) -> tuple[Tensor, Tensor, str]:
        margin = min(self.margin, (min(pair.gt.shape[1:]) - self.patch_size) // 2)
        side = self.patch_size + 2 * margin
        crop = flip_and_turn(self._cut(pair.gt, *_corner(pair.gt, side, random), side), symmetry)
        lq, word = degrade(crop, self.scale, self.degradations, random)
        return _inner(lq, margin), _inner(crop, margin), word

    def _prepared(self, pair: DecodedPair, symmetry: int, random: np.random.Generator) -> tuple[Tensor, Tensor, str]:
        assert pair.lq is not None
        # the corner is drawn in lq pixels, so that both crops show the same region
        top, left = _corner(pair.lq, self.patch_size // self.scale, random)
        lq = self._cut(pair.lq, top, left, self.patch_size // self.scale)
        gt = self._cut(pair.gt, top * self.scale, left * self.scale, self.patch_size)
        return to_float(flip_and_turn(lq, symmetry)), flip_and_turn(gt, symmetry), pair.degradation

    def _cut(self, whole: Tensor, top: int, left: int, side: int) -> Tensor:
        crop = _cut(whole, top, left, side)
        self.source.expect(crop)
        return crop


def decode(pair: Pair, images: Sequence[Tensor] | None = None) -> DecodedPair:
    """The pair as stored in its files.

    Args:
        images: the decoded files, gt first, uint8 (3, H, W), if the caller has already read them.

    Raises:
        FileNotFoundError, ValueError: a file cannot be read; the message names its path.
    """
    gt, *lq = images or [reading.read_rgb8(file) for file in pair.files]
    return DecodedPair(gt, lq[0], "prepared") if lq else DecodedPair(gt, None, "")


def _corner(whole: Tensor, side: int, random: np.random.Generator) -> tuple[int, int]:
    height, width = whole.shape[1:]
    return int(random.integers(height - side + 1)), int(random.integers(width - side + 1))


def _cut(whole: Tensor, top: int, left: int, side: int) -> Tensor:
    return whole[:, top : top + side, left : left + side]


def _inner(crop: Tensor, margin: int) -> Tensor:
    return _cut(crop, margin, margin, crop.shape[1] - 2 * margin)


class WholeImages(Dataset[Sample]):
    """Whole images in order; gt is cropped to a multiple of the scale, and keeps one channel if its file is grey."""

    def __init__(
        self, pairs: Sequence[Pair], *, scale: int, seed: int = 0, degradations: "Sequence[Degradation]" = ()
    ) -> None:
        self.pairs, self.scale, self.seed, self.degradations = pairs, scale, seed, degradations

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> Sample:
        pair = self.pairs[i]
        gt = reading.read(pair.gt)
        height, width = (side // self.scale * self.scale for side in gt.pixels.shape[1:])
        reference = to_float(gt.pixels)[:, :height, :width]
        if pair.lq is not None:
            lq, word = reading.read(pair.lq).rgb(), "prepared"
        else:
            pixels = gt.rgb8()[:, :height, :width]
            lq, word = degrade(pixels, self.scale, self.degradations, generator_of_sample(self.seed, i))
        return {"lq": lq, "gt": reference, "name": pair.name, "degradation": word}
