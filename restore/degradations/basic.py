"""Degradations other than bicubic downscaling: small callables, each with its own random draw.

Each takes lq, float (3, h, w) in [0, 1], and a random generator, and returns the degraded image with a short
description, which becomes part of the sample. One with ``is_fixed`` draws nothing, so its result may be computed once.
One with ``is_interpolated`` returns values between 8-bit levels, which are not rounded.
"""

import io
from collections.abc import Callable, Sequence

import kornia
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from restore.io.errors import SettingError
from restore.ops.resize import resize, resize_8bit

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
        # replicate, because reflection fails if the kernel is wider than the image
        blurred = kornia.filters.gaussian_blur2d(lq[None], (size, size), (sigma, sigma), border_type="replicate")
        return blurred[0].clamp(0, 1), f"blur {sigma:.2f} px"


class GaussianNoise:
    """Additive white noise, standard deviation drawn uniformly from [``low``, ``high``], in the range [0, 1].

    Args:
        low, high: standard deviation. grey: fraction of images whose noise is the same in all channels.
    """

    def __init__(self, *, low: float = 0.0, high: float = 0.05, grey: float = 0.0) -> None:
        check_range(low, high, 0, 1)
        check_value("grey", grey, 0, 1)
        self.low, self.high, self.grey = low, high, grey

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see the module's docstring."""
        sigma = float(random.uniform(self.low, self.high))
        noise, word = draw_noise(lq, self.grey, random)
        return (lq + sigma * noise).clamp(0, 1), f"noise {sigma:.3f}{word}"


def draw_noise(lq: Tensor, grey: float, random: np.random.Generator) -> tuple[Tensor, str]:
    """White noise of deviation 1 for an image (3, h, w); the same in all channels with probability ``grey``."""
    is_grey = grey > 0 and random.random() < grey
    shape = (1, *lq.shape[1:]) if is_grey else lq.shape
    return torch.from_numpy(random.standard_normal(shape, dtype=np.float32)), " grey" if is_grey else ""


class Jpeg:
    """JPEG compression by libjpeg, quality drawn uniformly from the integers [``low``, ``high``].

    Args:
        low, high: quality. full_chroma: fraction of images whose chroma keeps the full resolution (4:4:4); for the
            others it is halved (4:2:0), as in cameras and messengers.
    """

    def __init__(self, *, low: int = 40, high: int = 95, full_chroma: float = 0.0) -> None:
        check_range(low, high, 1, 100)
        check_value("full_chroma", full_chroma, 0, 1)
        self.low, self.high, self.full_chroma = low, high, full_chroma

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see the module's docstring."""
        quality = int(random.integers(self.low, self.high + 1))
        is_full = self.full_chroma > 0 and random.random() < self.full_chroma
        levels = lq.mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        file = io.BytesIO()
        Image.fromarray(levels).save(file, "JPEG", quality=quality, subsampling="4:4:4" if is_full else "4:2:0")
        decoded = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
        return decoded.float().div(255).contiguous(), f"jpeg {quality}{' 4:4:4' if is_full else ''}"


class Canny:
    """Contours for contour-to-photo translation, without a random draw: by default, white lines on black.

    Canny, "A computational approach to edge detection", IEEE TPAMI 8(6), 1986; kornia's implementation.

    Args:
        sigma: standard deviation of the preceding Gaussian blur, in pixels.
        low, high: thresholds on the Sobel gradient, which is 4 at a vertical step from 0 to 1 without blur: a line
            consists of pixels above ``low``, at least one of them above ``high``.
        thickness: thickness of the lines, in pixels.
        dark: black lines on white, as in a drawing.
    """

    is_fixed = True

    def __init__(
        self, *, sigma: float = 2.0, low: float = 0.1, high: float = 0.2, thickness: int = 1, dark: bool = False
    ) -> None:
        check_value("sigma", sigma, 0.1, 20)
        check_range(low, high, 0.001, 4)
        check_value("thickness", thickness, 1, 99)
        self.sigma, self.low, self.high, self.thickness, self.dark = sigma, low, high, thickness, dark

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Draw contours, (3, h, w) of zeros and ones; see the module's docstring."""
        reach = 2 * round(3 * self.sigma) + 1
        # blurred here, because kornia's own blur reflects, which fails if the kernel is wider than the image
        grey = kornia.color.rgb_to_grayscale(lq[None])
        grey = kornia.filters.gaussian_blur2d(grey, (reach, reach), (self.sigma, self.sigma), border_type="replicate")
        _, edges = kornia.filters.canny(grey, low_threshold=self.low, high_threshold=self.high, kernel_size=1)
        lines = dilated(edges[0], self.thickness)
        return (1 - lines if self.dark else lines).expand(3, -1, -1), f"canny {self.sigma:g} px"


def dilated(lines: Tensor, thickness: int) -> Tensor:
    """Widen lines of one pixel, (1, h, w), to ``thickness`` pixels; an even one extends farther down and right."""
    before, after = thickness // 2, (thickness - 1) // 2
    return torch.nn.functional.max_pool2d(torch.nn.functional.pad(lines, (before, after, before, after)), thickness, 1)


class InterpolatedLowResolution:
    """An 8-bit low-resolution image, enlarged bicubically to the original size: the input of some networks.

    Kim, Lee, Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016 (VDSR). Values
    are not clamped, because bicubic overshoot marks edges.

    Args:
        factors: for each image one is drawn, by which the sides are divided; one listed twice is drawn twice as often.
        margin: pixels around a training crop, so that its edges are interpolated from real content.
    """

    is_interpolated = True

    def __init__(self, *, factors: Sequence[float], margin: int = 16) -> None:
        for factor in factors:
            check_value("factors", factor, 1, 16)
        if not factors:
            raise SettingError("factors", "empty", "at least one number from 1 to 16")
        self.factors, self.margin = list(factors), margin

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see the module's docstring."""
        factor = self.factors[int(random.integers(len(self.factors)))]
        small = resize_8bit(lq.mul(255).round().to(torch.uint8), 1 / factor)
        enlarged = resize(small.float() / 255, factor, size=(lq.shape[-2], lq.shape[-1]))
        return enlarged, f"x{factor:g}"


class RandomOrder:
    """Applies the given degradations in a random order (Zhang et al., BSRGAN, ICCV 2021, section 3.4)."""

    def __init__(self, *, steps: Sequence[Degradation]) -> None:
        self.steps = steps
        self.margin = sum(getattr(step, "margin", 0) for step in steps)

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see the module's docstring."""
        words = []
        for k in random.permutation(len(self.steps)):
            lq, word = self.steps[k](lq, random)
            words.append(word)
        return lq, joined(words)


class Sometimes:
    """Applies the given degradations, in order, to a fraction of the images; the others stay unchanged."""

    def __init__(self, *, share: float, steps: Sequence[Degradation]) -> None:
        check_value("share", share, 0, 1)
        self.share, self.steps = share, steps
        self.margin = sum(getattr(step, "margin", 0) for step in steps)

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see the module's docstring."""
        words = []
        if random.random() < self.share:
            for step in self.steps:
                lq, word = step(lq, random)
                words.append(word)
        return lq, joined(words)


class OneOf:
    """Applies one of the given degradations, all equally likely."""

    def __init__(self, *, steps: Sequence[Degradation]) -> None:
        if not steps:
            raise SettingError("steps", "[]", "a list of at least one degradation")
        self.steps = steps
        self.margin = max(getattr(step, "margin", 0) for step in steps)

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Degrade one image; see the module's docstring."""
        return self.steps[int(random.integers(len(self.steps)))](lq, random)


def joined(words: Sequence[str]) -> str:
    """Join descriptions, leaving out empty ones, from steps that did nothing."""
    return ", ".join(word for word in words if word)
