"""A network's end without a nonlinearity, as one convolution.

Convolutions and pixel shuffles in a row are a linear map. Computed as such it needs a fraction of the operations: a
fourth at x2, a fifth at x4 (Bhardwaj et al., "Collapsible Linear Blocks for Super-Efficient Super Resolution", MLSys
2022, section 3.2). Only the border differs, as every layer pads its own input with zeros.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.ops.tiling import Forward

WORTH = 16  # times as large as the map that the kernel is found on must a map be


def pays_for(x: Tensor, radius: int) -> bool:
    """Whether a map, (N, C, H, W), is so large that finding the kernel costs little of what it saves."""
    return x.shape[-2] * x.shape[-1] >= WORTH * x.shape[1] * (4 * radius + 1) ** 2


def kernel_of(end: Forward, like: Tensor, *, scale: int, radius: int) -> tuple[Tensor, Tensor]:
    """The convolution that ``end`` is, before the last pixel shuffle: its answers to single pixels.

    Args:
        end: linear, (N, C, H, W) -> (N, 3, scale H, scale W).
        like: a map that it takes, for channels, kind of number and device.
        radius: what it sees around a pixel.

    Returns:
        (3 scale**2, C, 2 radius + 1, 2 radius + 1), and the biases.
    """
    channels, side, centre = like.shape[1], 4 * radius + 1, 2 * radius
    pixels = like.new_zeros(channels + 1, channels, side, side).contiguous(memory_format=torch.channels_last)
    for channel in range(channels):
        pixels[channel, channel, centre, centre] = 1
    answers = end(pixels).unflatten(-1, (side, scale)).unflatten(-3, (side, scale))  # N, 3, y, in y, x, in x
    seen = slice(centre - radius, centre + radius + 1)
    kernel = (answers[:-1] - answers[-1:])[:, :, seen, :, seen].flip(2, 4).permute(1, 3, 5, 0, 2, 4)
    return kernel.flatten(0, 2), answers[-1, :, centre, :, centre].flatten()


def enlarged(end: Forward, x: Tensor, *, scale: int, radius: int) -> Tensor:
    """What ``end`` gives, up to rounding; arguments as of :func:`kernel_of`, sides of at least 2 radius."""
    like = x.float() if torch.is_autocast_enabled(x.device.type) else x  # the layers themselves are in float32 then
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
