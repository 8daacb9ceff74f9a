"""Synthesises motion blur from sharp photos: spatially varying camera shake, and independently moving objects.

Light adds up on the sensor before the camera's gamma, so images are averaged in linear light. The blurred and the
sharp image stay aligned, because each path has its centre of mass at the origin.
"""

import math
from typing import Literal

import kornia
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from restore.degradations.basic import check_range, check_value
from restore.io.errors import SettingError

Law = Literal["uniform", "log"]

GAMMA = 2.2
SAMPLES = 96  # points of a path, more than its length in pixels


class MotionBlur:
    """Spatially varying motion blur with noise.

    A camera shake is drawn: straight, curved, or a random walk of the direction (after Boracchi and Foi, IEEE TIP
        21(8), 2012). ``kernels`` rotated and shortened versions of it are blended with smooth masks, as for a camera
        that also rotates. Then up to ``objects`` regions with soft edges move in the foreground, along their own paths.

    Args:
        low, high: bounds of the length of the longest path, in pixels.
        law: distribution of the lengths: ``uniform``, or ``log``, where log(1 + length) is uniform. For lengths from 0
            to 24, a fifth are then below 1 and two fifths below 3, which trains a network to leave sharp images
            unchanged.
        kernels: number of kernels of the camera shake.
        objects: maximum number of moving objects.
        noise: the standard deviation of white noise is drawn between 0 and this, in the range [0, 1].
        untouched: fraction of images that are left unchanged, without noise.

    Attributes:
        margin: pixels around a crop whose light can reach the crop.

    Raises:
        SettingError: lengths outside 0 to 200 pixels, an unknown law, noise or a fraction outside [0, 1], or too few
            kernels or objects.
    """

    def __init__(
        self,
        *,
        low: float = 2,
        high: float = 24,
        law: Law = "uniform",
        kernels: int = 4,
        objects: int = 2,
        noise: float = 0.01,
        untouched: float = 0.0,
    ) -> None:
        check_range(low, high, 0, 200)
        check_value("noise", noise, 0, 1)
        check_value("untouched", untouched, 0, 1)
        if law not in ("uniform", "log"):
            raise SettingError("law", law, "uniform or log")
        for key, value, least in (("kernels", kernels, 1), ("objects", objects, 0)):
            if value < least:
                raise SettingError(key, value, f"at least {least}")
        self.low, self.high, self.law, self.untouched = low, high, law, untouched
        self.kernels, self.objects, self.noise = kernels, objects, noise
        self.margin = _radius(high)

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Blur one image; see :mod:`restore.degradations.basic`."""
        if self.untouched and random.random() < self.untouched:
            return lq, "untouched"
        length = self._draw_length(random)
        linear = lq**GAMMA
        blurred = shake(linear, length, self.kernels, random)
        count = int(random.integers(self.objects + 1))
        for _ in range(count):
            blurred = move_object(blurred, linear, self._draw_length(random), random)
        sigma = float(random.uniform(0, self.noise))
        noise = torch.from_numpy(random.standard_normal(lq.shape, dtype=np.float32))
        out = blurred.clamp(0, 1) ** (1 / GAMMA) + sigma * noise
        return out.clamp(0, 1), f"motion {length:.1f} px, objects {count}, noise {sigma:.3f}"

    def _draw_length(self, random: np.random.Generator) -> float:
        if self.law == "log":
            return math.expm1(random.uniform(math.log1p(self.low), math.log1p(self.high)))
        return float(random.uniform(self.low, self.high))


def shake(linear: Tensor, length: float, kernels: int, random: np.random.Generator) -> Tensor:
    """Blur with versions of one path, each with its own weight map; (3, H, W) -> (3, H, W)."""
    path = draw_path(length, random)
    paths = [_turned(path, random.uniform(-0.4, 0.4), random.uniform(0.2, 1)) for _ in range(kernels)]
    filters = torch.stack([draw_kernel(each, _radius(length)) for each in paths])
    each: Tensor = kornia.filters.filter2d(linear.expand(kernels, -1, -1, -1), filters, border_type="replicate")
    weights = smooth_fields(kernels, (linear.shape[1], linear.shape[2]), random).mul(4).softmax(0)
    return (each * weights[:, None]).sum(0)


def move_object(background: Tensor, linear: Tensor, length: float, random: np.random.Generator) -> Tensor:
    """Draw a region of the sharp image, blurred along its own path, over ``background``.

    The region moves together with its mask, so that the background is visible at its edge for part of the exposure.

    Args:
        background, linear: float, (3, H, W), linear light; ``linear`` is the sharp image.
        length: of the longest path, in pixels.

    Returns:
        float, (3, H, W).
    """
    size = (linear.shape[1], linear.shape[2])
    region = _ellipse(size, random)
    kernel = draw_kernel(draw_path(length, random), _radius(length))[None]
    layers = torch.cat([linear * region, region])[None]
    moved: Tensor = kornia.filters.filter2d(layers, kernel, border_type="replicate")[0]
    return moved[:3] + (1 - moved[3:]) * background


def draw_path(length: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Points (row, column) of a path around its centre of mass, in pixels: (SAMPLES, 2).

    At most ``length`` pixels long; shortened if the motion is slow at one end, so that no point is farther from the
    centre than half the length.
    """
    time = np.linspace(0, 1, SAMPLES)
    straight, curved = np.zeros(SAMPLES), random.uniform(-np.pi, np.pi) * time
    walk = np.cumsum(random.normal(0, 2.5 / math.sqrt(SAMPLES), SAMPLES))
    heading = random.uniform(0, 2 * np.pi) + (straight, curved, walk)[int(random.integers(3))]
    speed = np.exp(np.cumsum(random.normal(0, 1 / math.sqrt(SAMPLES), SAMPLES)))
    steps = (speed / speed.sum() * length)[:, None] * np.stack([np.sin(heading), np.cos(heading)], 1)
    points = np.cumsum(steps, 0)
    points -= points.mean(0)
    farthest = np.hypot(points[:, 0], points[:, 1]).max()
    return np.asarray(points * min(1, length / 2 / farthest)) if farthest > 0 else points


def _turned(path: NDArray[np.float64], angle: float, factor: float) -> NDArray[np.float64]:
    sine, cosine = math.sin(angle), math.cos(angle)
    return np.asarray(factor * path @ np.array([[cosine, sine], [-sine, cosine]]))


def _radius(length: float) -> int:
    """Half of the largest extent of a path, plus one pixel for interpolation."""
    return math.ceil(length / 2) + 1


def draw_kernel(path: NDArray[np.float64], radius: int) -> Tensor:
    """The fraction of time in each pixel, with bilinear weights: float32, (2 radius + 1, 2 radius + 1), sums to 1."""
    side = 2 * radius + 1
    kernel = np.zeros((side, side))
    corner = np.floor(path).astype(int)
    part = path - corner
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - part[:, 0]) * np.abs(1 - right - part[:, 1])
            np.add.at(kernel, (corner[:, 0] + down + radius, corner[:, 1] + right + radius), weight)
    return torch.from_numpy(kernel / kernel.sum()).float()


def smooth_fields(count: int, size: tuple[int, int], random: np.random.Generator) -> Tensor:
    """Fields that vary slowly over the image: float32, (count, H, W), values around 0."""
    coarse = torch.from_numpy(random.standard_normal((1, count, 4, 4), dtype=np.float32))
    return F.interpolate(coarse, size=size, mode="bicubic", align_corners=True)[0]


def _ellipse(size: tuple[int, int], random: np.random.Generator) -> Tensor:
    """Mask of a distorted ellipse with a soft edge: float32, (1, H, W), [0, 1]."""
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    shorter = min(size)
    (row, column), (high, wide) = random.uniform(0, 1, 2) * size, random.uniform(0.15, 0.4, 2) * shorter
    distance = ((rows - row) / (high + 1)) ** 2 + ((columns - column) / (wide + 1)) ** 2
    uneven = distance.float() + 0.3 * smooth_fields(1, size, random)[0]
    return torch.sigmoid((1 - uneven) * 12)[None]
