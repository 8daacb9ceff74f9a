"""Measures the damage of a photo from its pixels alone: noise, JPEG blocks, softness.

Images are float, [0, 1]; grey is (H, W). An image that is too small to be measured counts as undamaged.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_SIDE = 64  # pixels; minimum side of an image that can be measured
GRID = 8  # pixels between the borders of JPEG's blocks


def grey_of(rgb: Tensor) -> Tensor:
    """ITU-R BT.601 luma of (3, H, W), full range: (H, W)."""
    return (rgb * rgb.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)


def diagonal(grey: Tensor) -> Tensor:
    """The diagonal band of the orthonormal Haar wavelet, (H // 2, W // 2); white noise keeps its standard deviation."""
    height, width = (side // 2 * 2 for side in grey.shape)
    grey = grey[:height, :width]
    return (grey[::2, ::2] - grey[::2, 1::2] - grey[1::2, ::2] + grey[1::2, 1::2]) / 2


def noise(grey: Tensor, *, tile: int, calmest: float) -> float:
    """Standard deviation of white noise: median absolute deviation of the diagonal Haar band / 0.6745.

    Donoho and Johnstone, Biometrika 81(3), 1994. Measured in tiles, because texture looks like noise.

    Args:
        tile: side of a tile in samples of the band, two pixels each.
        calmest: quantile of the tiles' deviations that is returned.
    """
    if min(grey.shape) < LEAST_SIDE:
        return 0.0
    tiles = diagonal(grey).abs().unfold(0, tile, tile).unfold(1, tile, tile).flatten(2).flatten(0, 1)
    return float((tiles.median(1).values / 0.6745).quantile(calmest))


def colour_noise(rgb: Tensor) -> float:
    """Standard deviation of noise that differs between the channels of (3, H, W); photos have little fine colour."""
    return noise((rgb[0] - rgb[1]) / 2**0.5, tile=16, calmest=0.1)


def grey_noise(grey: Tensor) -> float:
    """Standard deviation of noise in the luma; fine texture counts as noise unless there is a smooth area."""
    return noise(grey, tile=8, calmest=0.05)


def blockiness(grey: Tensor) -> float:
    """Mean excess of differences across the borders of 8x8 blocks over those beside them, relative to their mean.

    Wang, Bovik, Evans, "Blind measurement of blocking artifacts in images", ICIP 2000, compare the same differences.
    The grid may have any offset: it is where the differences are largest. About 0 without JPEG.
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
    """Energy of the second finest diagonal Haar band / energy of the finest: 4 to 6 in a sharp photo."""
    if min(grey.shape) < LEAST_SIDE:
        return 0.0
    coarse = diagonal(2 * F.avg_pool2d(grey[None], 2)[0])
    return float(coarse.square().mean() / diagonal(grey).square().mean().clamp(min=1e-9))
