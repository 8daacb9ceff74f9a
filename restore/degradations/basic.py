"""Degradations beyond bicubic downscaling: small callables, each with its own random draw.

Each takes lq, float (3, h, w) in [0, 1], and a random generator, and returns the degraded image with a short
description, which becomes part of the sample. With the attribute ``is_fixed`` it draws nothing, so that its result may
be computed once.
"""

from collections.abc import Callable, Sequence

import kornia
import numpy as np
import torch
from torch import Tensor

from restore.io.errors import SettingError

Degradation = Callable[[Tensor, np.random.Generator], tuple[Tensor, str]]


def check_range(low: float, high: float, least: float, most: float) -> None:
    """Raise SettingError unless least <= low <= high <= most."""
    if not least <= low <= high <= most:
        raise SettingError("low", f"{low} and high is {high}", f"{least} <= low <= high <= {most}")


def check_value(key: str, value: float, least: float, most: float) -> None:
    """Raise SettingError unless least <= value <= most."""
    if not least <= value <= most:
        raise SettingError(key, value, f"a number from {least} to {most}")


class GaussianBlur:
    """Isotropic Gaussian blur, sigma drawn uniformly from [``low``, ``high``] lq pixels."""

    def __init__(self, *, low: float = 0.2, high: float = 2.0) -> None:
        check_range(low, high, 0.01, 20)
        self.low, self.high = low, high

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see the module's docstring."""
        sigma = float(random.uniform(self.low, self.high))
        size = 2 * round(3 * sigma + 0.5) + 1
        # replicated, because reflection fails where the kernel is wider than the image
        blurred = kornia.filters.gaussian_blur2d(lq[None], (size, size), (sigma, sigma), border_type="replicate")
        return blurred[0].clamp(0, 1), f"blur {sigma:.2f} px"


class GaussianNoise:
    """Additive white noise, standard deviation drawn uniformly from [``low``, ``high``], of the range [0, 1]."""

    def __init__(self, *, low: float = 0.0, high: float = 0.05) -> None:
        check_range(low, high, 0, 1)
        self.low, self.high = low, high

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see the module's docstring."""
        sigma = float(random.uniform(self.low, self.high))
        noise = random.standard_normal(lq.shape, dtype=np.float32)
        return (lq + sigma * torch.from_numpy(noise)).clamp(0, 1), f"noise {sigma:.3f}"


class Jpeg:
    """JPEG compression, quality drawn uniformly from the integers [``low``, ``high``]."""

    def __init__(self, *, low: int = 40, high: int = 95) -> None:
        check_range(low, high, 1, 100)
        self.low, self.high = low, high

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see the module's docstring."""
        quality = int(random.integers(self.low, self.high + 1))
        height, width = lq.shape[1:]
        # kornia encodes whole 16x16 blocks only
        padded = torch.nn.functional.pad(lq[None], (0, -width % 16, 0, -height % 16), mode="replicate")
        coded = kornia.enhance.jpeg_codec_differentiable(padded, torch.tensor([float(quality)]))
        return coded[0, :, :height, :width].clamp(0, 1), f"jpeg {quality}"


class Canny:
    """Contours for contour-to-photo translation: white lines on black, one pixel wide, without a random draw.

    Canny, "A computational approach to edge detection", IEEE TPAMI 8(6), 1986; kornia's.

    Args:
        sigma: of the Gaussian before it, in pixels.
        low, high: of the Sobel gradient, which is 4 at a vertical step from 0 to 1 without blur: a line consists of
            pixels above ``low``, at least one of them above ``high``.
    """

    is_fixed = True

    def __init__(self, *, sigma: float = 2.0, low: float = 0.1, high: float = 0.2) -> None:
        check_value("sigma", sigma, 0.1, 20)
        check_range(low, high, 0.001, 4)
        self.sigma, self.low, self.high = sigma, low, high

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """See the module's docstring; the image is (3, h, w) of zeros and ones."""
        reach = 2 * round(3 * self.sigma) + 1
        # blurred here: kornia's own blur reflects, which fails where the kernel is wider than the image
        grey = kornia.color.rgb_to_grayscale(lq[None])
        grey = kornia.filters.gaussian_blur2d(grey, (reach, reach), (self.sigma, self.sigma), border_type="replicate")
        _, edges = kornia.filters.canny(grey, low_threshold=self.low, high_threshold=self.high, kernel_size=1)
        return edges[0].expand(3, -1, -1), f"canny {self.sigma:g} px"


class RandomOrder:
    """The given degradations one after another in a random order (Zhang et al., BSRGAN, ICCV 2021, section 3.4)."""

    def __init__(self, *, steps: Sequence[Degradation]) -> None:
        self.steps = steps
        self.margin = sum(getattr(step, "margin", 0) for step in steps)

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see the module's docstring."""
        words = []
        for k in random.permutation(len(self.steps)):
            lq, word = self.steps[k](lq, random)
            words.append(word)
        return lq, ", ".join(words)
