"""The paired data set: training crops numbered through a whole run, and whole images for validation.

A sample is ``{"lq": float (3, h, w), "gt": float (C, scale h, scale w), "name": str, "degradation": str}``, values in
[0, 1].
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from restore import image
from restore.data.pairs import Pair, Pictures
from restore.data.sampling import flip_and_turn, generator_of_sample, image_of_sample
from restore.resize import resize_8bit

if TYPE_CHECKING:  # kornia takes seconds to import, and few runs degrade beyond the shrink
    from restore.degradations import Degradation


class Sample(TypedDict):
    """See the module's text."""

    lq: Tensor
    gt: Tensor
    name: str
    degradation: str


def degrade(
    gt: Tensor, scale: int, degradations: "Sequence[Degradation]", random: np.random.Generator
) -> tuple[Tensor, str]:
    """Make lq from an 8-bit gt: the bicubic shrink, then the given degradations, rounded to 8-bit levels again."""
    lq = image.to_float(resize_8bit(gt, 1 / scale) if scale > 1 else gt)
    words = []
    for degradation in degradations:
        lq, word = degradation(lq, random)
        words.append(word)
    if degradations:
        lq = lq.clamp(0, 1).mul(255).round().div(255)
    return lq, ", ".join(words)


class TrainingCrops(Dataset[Sample]):
    """Random square crops, flipped and turned; sample ``i`` is a function of (seed, i) alone.

    Args:
        pairs: a prepared lq is cropped; without one it is made from the crop.
        patch_size: side of the crop in gt pixels.
        count: samples of the run.
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
        pictures: Pictures | None = None,
    ) -> None:
        self.pairs, self.scale, self.patch_size, self.count, self.seed = pairs, scale, patch_size, count, seed
        self.degradations = degradations
        self.pictures = pictures or Pictures()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Sample:
        pair = self.pairs[image_of_sample(self.seed, i, len(self.pairs))]
        random = generator_of_sample(self.seed, i)
        gt = self.pictures.read(pair.gt)
        symmetry = int(random.integers(8))
        if pair.lq is None:
            top = int(random.integers(gt.shape[1] - self.patch_size + 1))
            left = int(random.integers(gt.shape[2] - self.patch_size + 1))
            crop = flip_and_turn(gt[:, top : top + self.patch_size, left : left + self.patch_size], symmetry)
            lq, word = degrade(crop, self.scale, self.degradations, random)
        else:  # the corner is drawn in lq pixels, so that both crops show the same place
            small, side = self.pictures.read(pair.lq), self.patch_size // self.scale
            top = int(random.integers(small.shape[1] - side + 1))
            left = int(random.integers(small.shape[2] - side + 1))
            lq = image.to_float(flip_and_turn(small[:, top : top + side, left : left + side], symmetry))
            top, left = top * self.scale, left * self.scale
            crop = flip_and_turn(gt[:, top : top + self.patch_size, left : left + self.patch_size], symmetry)
            word = "prepared"
        return {"lq": lq, "gt": image.to_float(crop), "name": pair.name, "degradation": word}


class WholeImages(Dataset[Sample]):
    """Whole images in order; gt is cut to a multiple of the scale, and keeps one channel when its file is grey."""

    def __init__(
        self, pairs: Sequence[Pair], *, scale: int, seed: int = 0, degradations: "Sequence[Degradation]" = ()
    ) -> None:
        self.pairs, self.scale, self.seed, self.degradations = pairs, scale, seed, degradations

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> Sample:
        pair = self.pairs[i]
        gt = image.read(pair.gt)
        height, width = (side // self.scale * self.scale for side in gt.pixels.shape[1:])
        reference = image.to_float(gt.pixels)[:, :height, :width]
        if pair.lq is not None:
            lq, word = image.read(pair.lq).rgb(), "prepared"
        else:
            pixels = gt.rgb8()[:, :height, :width]
            lq, word = degrade(pixels, self.scale, self.degradations, generator_of_sample(self.seed, i))
        return {"lq": lq, "gt": reference, "name": pair.name, "degradation": word}
