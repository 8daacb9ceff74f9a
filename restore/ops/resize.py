"""MATLAB-compatible bicubic resizing, and pyramids.

Super-resolution benchmarks were made with MATLAB's ``imresize(image, scale, "bicubic")``. Any other "bicubic" resizing
shifts every published number, so this module follows MATLAB exactly: Keys' cubic kernel with a = -0.5 (IEEE TASSP
29(6), 1981), stretched by 1/scale for downscaling, weights normalised per output sample, height first, then width, and
for 8-bit images rounding to 8 bits after each axis.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

Edges = Literal["mirror", "clamp", "inside"]
Filter = Literal["bilinear", "bicubic", "lanczos"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel, a = -0.5, support [-2, 2]."""
    x = x.abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, torch.zeros_like(x)))


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _lanczos(x: Tensor) -> Tensor:
    """The windowed sinc with three lobes, support [-3, 3] (Duchon, J. Appl. Meteorology 18(8), 1979)."""
    return torch.where(x.abs() < 3, torch.sinc(x) * torch.sinc(x / 3), torch.zeros_like(x))


_FILTERS: Mapping[str, tuple[Callable[[Tensor], Tensor], int]] = MappingProxyType(
    {"bilinear": (_triangle, 1), "bicubic": (_cubic, 2), "lanczos": (_lanczos, 3)}
)


def _is_open(length: object) -> bool:
    """Whether a side is symbolic, because a graph for any size is being traced."""
    return isinstance(length, torch.SymInt)


@lru_cache(maxsize=256)
def _taps(
    length: int, new_length: int, scale: float, edges: Edges, filter_: Filter = "bicubic"
) -> tuple[Tensor, Tensor]:
    """Input samples and weights for each output sample.

    Returns:
        index: int64, (taps, new_length), positions in the input.
        weight: float64, (taps, new_length), columns sum to 1.
    """
    with torch.inference_mode(False):  # the cached tensors must also serve calls with gradients
        return _make_taps(length, new_length, scale, edges, filter_)


@lru_cache(maxsize=256)
def _taps_on(
    device: torch.device, dtype: torch.dtype, length: int, new_length: int, scale: float, edges: Edges, filter_: Filter
) -> tuple[Tensor, Tensor]:
    """The same on an accelerator, cached there, because copying would make the host wait at every call."""
    index, weight = _taps(length, new_length, scale, edges, filter_)
    with torch.inference_mode(False):
        return index.to(device), weight.to(dtype).to(device)  # in this order, because some accelerators have no float64


def _make_taps(length: int, new_length: int, scale: float, edges: Edges, filter_: Filter) -> tuple[Tensor, Tensor]:
    kernel, support = _FILTERS[filter_]
    stretch = min(scale, 1.0)  # antialiasing: downscaling widens the kernel
    width = 2 * support / stretch
    centre = (torch.arange(new_length, dtype=torch.float64) + 0.5) / scale - 0.5
    first = torch.floor(centre - width / 2).to(torch.int64)
    offsets = torch.arange(int(-(-width // 1)) + 2)
    index = first[None, :] + offsets[:, None]
    weight = stretch * kernel(stretch * (centre[None, :] - index))
    if edges == "inside":
        weight = torch.where((index >= 0) & (index < length), weight, torch.zeros_like(weight))
    weight = weight / weight.sum(0, keepdim=True)
    if not _is_open(new_length):  # a graph for any size keeps all taps
        used = (weight != 0).any(1)
        index, weight = index[used], weight[used]
    if edges != "mirror":
        return index.clamp(0, length - 1), weight
    index = index.remainder(torch.full((1, 1), 2 * length))  # a tensor, because the length may be symbolic
    return torch.where(index < length, index, 2 * length - 1 - index), weight


def _resize_axis(
    image: Tensor, dim: int, new_length: int, scale: float, edges: Edges, filter_: Filter = "bicubic"
) -> Tensor:
    if _is_open(new_length):
        index, weight = _make_taps(image.shape[dim], new_length, scale, edges, filter_)
    elif image.device.type == "cpu":
        index, weight = _taps(image.shape[dim], new_length, scale, edges, filter_)
    else:
        index, weight = _taps_on(image.device, image.dtype, image.shape[dim], new_length, scale, edges, filter_)
    shape = [1] * image.dim()
    shape[dim] = new_length
    weight = weight.to(image)
    total = image.index_select(dim, index[0]) * weight[0].view(shape)
    for k in range(1, len(index)):
        total = total + image.index_select(dim, index[k]) * weight[k].view(shape)
    return total


def new_length(length: int, scale: float) -> int:
    """A side after resizing: rounded up as in MATLAB, at least 1."""
    if _is_open(length):  # symbolic; integer arithmetic, the same up to 10^5 px
        ratio = Fraction(scale).limit_denominator(10**6)
        return (length * ratio.numerator + ratio.denominator - 1) // ratio.denominator
    # the tolerance prevents 3 * (1 / 3) from becoming 2 by rounding errors
    return max(1, int(-(-(length * scale - 1e-9) // 1)))


def resize(image: Tensor, scale: float, *, size: tuple[int, int] | None = None, edges: Edges = "mirror") -> Tensor:
    """Resize a float image by ``scale`` (below 1 downscales); differentiable.

    Args:
        image: float, (..., H, W), any range.
        scale: output side / input side.
        size: output (height, width); by default the input's sides times ``scale``, rounded up.
        edges: extension beyond the image: ``mirror`` as in current MATLAB, ``clamp`` as in older releases; ``inside``
            gives samples outside no weight, as Pillow does.

    Returns:
        float, (..., h, w); not clamped, so cubic overshoot is kept.

    Raises:
        ValueError: ``scale`` is not positive, or the image is not float.
    """
    if not image.is_floating_point():
        raise ValueError(f"resize: got {image.dtype}, expected a float image; use resize_8bit() for uint8")
    _check_scale(scale)
    height, width = size or (new_length(image.shape[-2], scale), new_length(image.shape[-1], scale))
    image = _resize_axis(image, image.dim() - 2, height, scale, edges)
    return _resize_axis(image, image.dim() - 1, width, scale, edges)


def enlarge(lq: Tensor, scale: float) -> Tensor:
    """Bicubic enlargement as in the tables' baseline: for an 8-bit image rounded between the axes, as in MATLAB.

    Args:
        lq: float, (..., h, w), [0, 1]. scale: output side / input side.

    Returns:
        float, (..., H, W).
    """
    levels = (lq.double() * 255).round()
    is_8bit = torch.allclose(lq.double() * 255, levels, atol=1e-3, rtol=0)
    if not is_8bit:
        return resize(lq, scale)
    planes = levels.to(torch.uint8).flatten(0, -3) if lq.dim() > 2 else levels.to(torch.uint8)[None]
    # one after another, because double precision would take three times the memory for all at once
    large = torch.stack([resize_8bit(plane, scale) / 255 for plane in planes])
    return large.view(*lq.shape[:-2], *large.shape[-2:])


def _check_scale(scale: float) -> None:
    if not 0 < scale < float("inf"):
        raise ValueError(f"resize: scale is {scale}, expected a number above 0")


def _round_8bit(image: Tensor) -> Tensor:
    # half away from zero, as in MATLAB; after the clamp this is floor(x + 0.5)
    return image.clamp(0, 255).add(0.5).floor()


def resize_8bit(image: Tensor, scale: float, *, edges: Edges = "mirror") -> Tensor:
    """Resize an 8-bit image exactly as MATLAB resizes a ``uint8`` array: rounded to 8 bits after each axis.

    Args:
        image: uint8, (..., H, W).
        scale: output side / input side.
        edges: as in :func:`resize`.

    Returns:
        uint8, (..., h, w).

    Raises:
        ValueError: the image is not uint8, or the scale is out of bounds.
    """
    if image.dtype != torch.uint8:
        raise ValueError(f"resize_8bit: got {image.dtype}, expected torch.uint8; use resize() for float images")
    _check_scale(scale)
    height, width = new_length(image.shape[-2], scale), new_length(image.shape[-1], scale)
    tall = _round_8bit(_resize_axis(image.double(), image.dim() - 2, height, scale, edges))
    return _round_8bit(_resize_axis(tall, image.dim() - 1, width, scale, edges)).to(torch.uint8)


def pyramid(image: Tensor, levels: int, interpolation: Interpolation) -> list[Tensor]:
    """An image at ``levels`` resolutions, finest first, each with half the sides of the one before; differentiable.

    The filters are Pillow's for downscaling, stretched by two and normalised over the samples inside the image;
    nearest keeps every second row and column, starting with the second. Each level is made from the one before, so the
    levels below any of them are its own pyramid.

    Args:
        image: float, (..., C, H, W), any range; returned itself as the first level.
        levels: at least 1.
        interpolation: ``nearest``, ``bilinear``, ``bicubic`` (Keys, a = -0.5) or ``lanczos`` (three lobes). The
            overshoot of the last two is kept.

    Returns:
        ``levels`` images, (..., C, ceil(H / 2^k), ceil(W / 2^k)). An odd side is rounded up, and its last row
        represents one and a half rows; sides that are multiples of 2^(levels - 1) have no such row.

    Raises:
        ValueError: no level, an unknown interpolation, or the image is not float.
    """
    if levels < 1:
        raise ValueError(f"pyramid: levels is {levels}, expected at least 1, the image itself")
    if interpolation != "nearest" and interpolation not in _FILTERS:
        raise ValueError(f"pyramid: interpolation is {interpolation}, expected nearest, {', '.join(_FILTERS)}")
    if not image.is_floating_point():
        raise ValueError(f"pyramid: got {image.dtype}, expected a float image")
    images = [image]
    for _ in range(levels - 1):
        images.append(_halve(images[-1], interpolation))
    return images


def _halve(image: Tensor, interpolation: Interpolation) -> Tensor:
    for dim in (image.dim() - 2, image.dim() - 1):
        length = (image.shape[dim] + 1) // 2
        if interpolation == "nearest":
            index = (2 * torch.arange(length, device=image.device) + 1).clamp(max=image.shape[dim] - 1)
            image = image.index_select(dim, index)
        else:
            image = _resize_axis(image, dim, length, 0.5, "inside", interpolation)
    return image
