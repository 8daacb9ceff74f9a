"""Degradations by a lens, a sensor and resampling; the interface is that of :mod:`restore.degradations.basic`.

The kinds are those of Zhang, Liang, Van Gool, Timofte, "Designing a Practical Degradation Model for Deep Blind
Image Super-Resolution" (BSRGAN), ICCV 2021; ringing is from Wang, Xie, Dong, Shan, "Real-ESRGAN", ICCVW 2021.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.degradations.basic import check_range, check_value, draw_noise
from restore.degradations.motion_blur import GAMMA
from restore.ops.blur_kernels import gaussian_kernel

RINGING_REACH = 7  # pixels to each side of the middle, where the low-pass has fallen to 1 % of its peak
SHRINKS = ("bilinear", "bicubic", "area")
ENLARGES = ("bilinear", "bicubic")


class AnisotropicBlur:
    """Anisotropic Gaussian blur, as by a lens, in a random direction.

    Args:
        low, high: bounds of the standard deviation along the wider axis, drawn uniformly, in lq pixels.
        narrowest: minimum ratio of the standard deviations across and along; drawn uniformly between this and 1.
        linear: fraction of images blurred in linear light, as by a lens; the others are blurred as by an editor.
    """

    def __init__(self, *, low: float = 0.2, high: float = 2.0, narrowest: float = 0.3, linear: float = 0.5) -> None:
        check_range(low, high, 0.01, 20)
        check_value("narrowest", narrowest, 0.01, 1)
        check_value("linear", linear, 0, 1)
        self.low, self.high, self.narrowest, self.linear = low, high, narrowest, linear

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see :mod:`restore.degradations.basic`."""
        along = float(random.uniform(self.low, self.high))
        across = along * float(random.uniform(self.narrowest, 1))
        angle = float(random.uniform(0, math.pi))
        kernel = gaussian_kernel(along, across, angle, 2 * math.ceil(3 * along) + 1).float()
        return _in_some_light(
            lq, lambda image: _filtered(image, kernel), f"blur {along:.2f}x{across:.2f} px", self.linear, random
        )


class Ringing:
    """An ideal low-pass filter, whose sharp cutoff causes ripples beside edges.

    Args:
        low, high: bounds of the cutoff, drawn uniformly, as a fraction of the highest frequency.
    """

    def __init__(self, *, low: float = 0.5, high: float = 1.0) -> None:
        check_range(low, high, 0.05, 1)
        self.low, self.high = low, high

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see :mod:`restore.degradations.basic`."""
        end = float(random.uniform(self.low, self.high))
        return _filtered(lq, low_pass(end)).clamp(0, 1), f"ringing {end:.2f}"


class ShotNoise:
    """Photon noise: its variance is proportional to the light.

    Args:
        low, high: bounds of the standard deviation at white, drawn uniformly, in the range [0, 1].
        grey: fraction of images whose noise is the same in all channels.
        linear: fraction of images whose noise is added in linear light, as on the sensor.
    """

    def __init__(self, *, low: float = 0.0, high: float = 0.05, grey: float = 0.0, linear: float = 0.5) -> None:
        check_range(low, high, 0, 1)
        check_value("grey", grey, 0, 1)
        check_value("linear", linear, 0, 1)
        self.low, self.high, self.grey, self.linear = low, high, grey, linear

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see :mod:`restore.degradations.basic`."""
        sigma = float(random.uniform(self.low, self.high))
        noise, word = draw_noise(lq, self.grey, random)
        return _in_some_light(
            lq, lambda image: image + sigma * image.sqrt() * noise, f"shot noise {sigma:.3f}{word}", self.linear, random
        )


class Resample:
    """Resizes by a random factor and back to the original size, each with a random filter, sometimes with aliasing.

    Args:
        low, high: bounds of the factor, whose logarithm is drawn uniformly.
    """

    def __init__(self, *, low: float = 0.5, high: float = 2.0) -> None:
        check_range(low, high, 0.05, 20)
        self.low, self.high = low, high

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see :mod:`restore.degradations.basic`."""
        factor = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        size = (lq.shape[1], lq.shape[2])
        there, first = _resized(lq, (max(1, round(size[0] * factor)), max(1, round(size[1] * factor))), random)
        back, second = _resized(there, size, random)
        return back.clamp(0, 1), f"resampled {factor:.2f} {first} {second}"


def low_pass(end: float) -> Tensor:
    """Circular ideal low-pass with a cutoff at ``end`` times the highest frequency: float32, (15, 15), sums to 1."""
    offset = torch.arange(-RINGING_REACH, RINGING_REACH + 1, dtype=torch.float64)
    radius = torch.hypot(offset[:, None], offset[None, :])
    radius[RINGING_REACH, RINGING_REACH] = 1e-6  # the limit at 0
    kernel: Tensor = torch.special.bessel_j1(end * math.pi * radius) / radius
    return (kernel / kernel.sum()).float()


def _filtered(image: Tensor, kernel: Tensor) -> Tensor:
    """Filter each channel of (3, h, w) with a kernel (k, k'), k odd; borders are replicated."""
    height, width = kernel.shape
    padded = F.pad(image[None], (width // 2, width // 2, height // 2, height // 2), mode="replicate")
    return F.conv2d(padded.transpose(0, 1), kernel[None, None]).transpose(0, 1)[0]


def _in_some_light(
    lq: Tensor, degrade: Callable[[Tensor], Tensor], word: str, linear: float, random: np.random.Generator
) -> tuple[Tensor, str]:
    """Apply ``degrade``, in linear light with probability ``linear``."""
    if random.random() >= linear:
        return degrade(lq).clamp(0, 1), word
    return degrade(lq.pow(GAMMA)).clamp(0, 1).pow(1 / GAMMA), f"{word} linear"


def _resized(image: Tensor, size: tuple[int, int], random: np.random.Generator) -> tuple[Tensor, str]:
    """Resize an image (3, h, w), and name the filter; one in four downscalings has no antialiasing."""
    is_shrink = size[0] < image.shape[1] or size[1] < image.shape[2]
    modes = SHRINKS if is_shrink else ENLARGES
    mode = modes[int(random.integers(len(modes)))]
    if mode == "area":
        return F.interpolate(image[None], size=size, mode=mode)[0], mode
    aliased = is_shrink and random.random() < 0.25
    out = F.interpolate(image[None], size=size, mode=mode, align_corners=False, antialias=not aliased)[0]
    return out, f"{mode}{' aliased' if aliased else ''}"
