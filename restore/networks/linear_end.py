"""Runs the end of a network, which has no nonlinearity, as a single convolution.

A sequence of convolutions and pixel shuffles is linear. As one convolution it needs a fraction of the operations: a
fourth at x2, a fifth at x4 (Bhardwaj et al., "Collapsible Linear Blocks for Super-Efficient Super Resolution", MLSys
2022, section 3.2). Only the border differs, because every layer pads its own input with zeros.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.ops.tiling import Forward

WORTH = 16  # minimum ratio of a map's size to that of the maps from which the kernel is computed


def pays_for(x: Tensor, radius: int) -> bool:
    """Whether a map, (N, C, H, W), is so large that computing the kernel costs little compared with the saving."""
    return x.shape[-2] * x.shape[-1] >= WORTH * x.shape[1] * (4 * radius + 1) ** 2


def kernel_of(end: Forward, like: Tensor, *, scale: int, radius: int) -> tuple[Tensor, Tensor]:
    """The convolution equivalent to ``end`` before the last pixel shuffle, from its responses to single pixels.

    Args:
        end: linear, (N, C, H, W) -> (N, 3, scale H, scale W).
        like: an input map, for its number of channels, data type and device.
        radius: receptive radius of ``end``.

    Returns:
        (3 scale**2, C, 2 radius + 1, 2 radius + 1), and the biases.
    """
    channels, side, centre = like.shape[1], 4 * radius + 1, 2 * radius
    pixels = like.new_zeros(channels + 1, channels, side, side).contiguous(memory_format=torch.channels_last)
    for channel in range(channels):
        pixels[channel, channel, centre, centre] = 1
    answers = end(pixels).unflatten(-1, (side, scale)).unflatten(-3, (side, scale))  # N, 3, y, y within, x, x within
    seen = slice(centre - radius, centre + radius + 1)
    kernel = (answers[:-1] - answers[-1:])[:, :, seen, :, seen].flip(2, 4).permute(1, 3, 5, 0, 2, 4)
    return kernel.flatten(0, 2), answers[-1, :, centre, :, centre].flatten()


def enlarged(end: Forward, x: Tensor, *, scale: int, radius: int) -> Tensor:
    """The result of ``end`` up to rounding; for arguments see :func:`kernel_of`; sides of at least 2 radius."""
    like = x.float() if torch.is_autocast_enabled(x.device.type) else x  # then the layers run in float32
    with torch.autocast(x.device.type, enabled=False):
        weight, bias = kernel_of(end, like, scale=scale, radius=radius)
    weight = weight.contiguous(memory_format=torch.channels_last)
    pred = F.pixel_shuffle(F.conv2d(x, weight, bias, padding=radius), scale)
    edge, strip = scale * radius, 2 * radius
    for dim in (2, 3):
        length = x.shape[dim]
        pred.narrow(dim, 0, edge).copy_(end(x.narrow(dim, 0, strip)).narrow(dim, 0, edge))
        last = end(x.narrow(dim, length - strip, strip))
        pred.narrow(dim, scale * length - edge, edge).copy_(last.narrow(dim, edge, edge))
    return pred
