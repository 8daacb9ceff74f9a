"""Measures what a photo has suffered, from its pixels alone: noise, the blocks of JPEG, softness.

Images are float, [0, 1]; grey is (H, W). What is too small to be measured counts as undamaged.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_SIDE = 64  # of an image that can be measured
GRID = 8  # pixels between the borders of JPEG's blocks


def grey_of(rgb: Tensor) -> Tensor:
    """ITU-R BT.601 luma of (3, H, W), full range: (H, W)."""
    return (rgb * rgb.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)


def diagonal(grey: Tensor) -> Tensor:
    """The diagonal band of the orthonormal Haar wavelet, (H // 2, W // 2); white noise keeps its deviation in it."""
    height, width = (side // 2 * 2 for side in grey.shape)
    grey = grey[:height, :width]
    return (grey[::2, ::2] - grey[::2, 1::2] - grey[1::2, ::2] + grey[1::2, 1::2]) / 2


def noise(grey: Tensor, *, tile: int, calmest: float) -> float:
    """Standard deviation of white noise: median absolute deviation of the diagonal Haar band over 0.6745.

    Donoho and Johnstone, Biometrika 81(3), 1994. Measured in tiles, because texture looks like noise.

    Args:
        tile: side of a tile in samples of the band, two pixels each.
        calmest: the quantile of the tiles' deviations that is taken.
    """
    if min(grey.shape) < LEAST_SIDE:
        return 0.0
    tiles = diagonal(grey).abs().unfold(0, tile, tile).unfold(1, tile, tile).flatten(2).flatten(0, 1)
    return float((tiles.median(1).values / 0.6745).quantile(calmest))


def colour_noise(rgb: Tensor) -> float:
    """Standard deviation of noise that differs between the channels of (3, H, W): photos have little fine colour."""
    return noise((rgb[0] - rgb[1]) / 2**0.5, tile=16, calmest=0.1)


def grey_noise(grey: Tensor) -> float:
    """Standard deviation of noise in the brightness; fine texture without a calm place counts as noise."""
    return noise(grey, tile=8, calmest=0.05)


def blockiness(grey: Tensor) -> float:
    """How much larger steps are across borders of 8 px blocks than beside them, as a share of the mean step.

    Wang, Bovik, Evans, "Blind measurement of blocking artifacts in images", ICIP 2000, compare the same steps. The grid
    may begin anywhere: its place is where the steps are largest. About 0 without JPEG.
    """
    if min(grey.shape) < LEAST_SIDE:
        return 0.0
    return (_across(grey) + _across(grey.T)) / 2


def _across(grey: Tensor) -> float:
    steps = grey.diff(dim=1).abs().clamp(max=0.1)
    excess = (steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2).mean(0)
    places = torch.stack([excess[k::GRID].mean() for k in range(GRID)])
    return float((places.max() - places.median()) / steps.mean().clamp(min=1e-6))


def softness(grey: Tensor) -> float:
    """Energy of the second finest diagonal Haar band over that of the finest: 4 to 6 in a sharp photo."""
    if min(grey.shape) < LEAST_SIDE:
        return 0.0
    coarse = diagonal(2 * F.avg_pool2d(grey[None], 2)[0])
    return float(coarse.square().mean() / diagonal(grey).square().mean().clamp(min=1e-9))
