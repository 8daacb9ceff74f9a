"""The reconstruction error of zero-shot training: the image compared with itself, downscaled and enlarged again."""

from collections.abc import Callable

import torch
from torch import Tensor

from restore.models.zero_shot.network import ZeroShotNetwork
from restore.ops.resize import resize
from restore.ops.tiling import Forward

CHECKED_SIDE = 512  # pixels; of a larger image only the middle is used


def checked_part(image: Tensor, factor: float) -> Tensor:
    """The image, float (3, H, W), or its middle, as (1, 3, h, w).

    Its son has another sampling phase than the sons used in training, so memorising those does not help.
    """
    corner = (max(0, length - CHECKED_SIDE) // 2 for length in image.shape[1:])
    top, left = (length - length % round(factor) + 1 for length in corner)
    return image[None, :, top : top + CHECKED_SIDE, left : left + CHECKED_SIDE]


def back_projection_helps(network: ZeroShotNetwork, image: Tensor) -> bool:
    """Whether the image, float (3, H, W), shrunk and enlarged bicubically, is closer to itself if back-projected."""
    part = checked_part(image, network.scale)
    son = network.shrink(part, network.scale)
    enlarged = resize(son, network.scale, size=(part.shape[-2], part.shape[-1]))
    projected = network.back_projected(enlarged, son, network.scale)
    errors = [float((each.clamp(0, 1) - part).square().mean()) for each in (projected, enlarged)]
    return errors[0] < errors[1]


class Reconstruction:
    """Compares the image with its son as enlarged by a network (Shocher et al., CVPR 2018, section 3.2).

    Args:
        image: float, (3, H, W), [0, 1].
        factor: of the scale step. zoom: 1 if the network takes the interpolated son, else ``factor``.
        shrink: makes sons: (image, factor) -> son.
        noise: standard deviation of noise on sons, in [0, 1].
        device: of the network.

    Attributes:
        bicubic: mean squared error of interpolation.
        input: of the network: the son, interpolated if ``zoom`` is 1, float (1, 3, h, w), on the device.
        pixels: of the image that is compared.
    """

    def __init__(
        self,
        image: Tensor,
        factor: float,
        *,
        zoom: int,
        shrink: Callable[[Tensor, float], Tensor],
        noise: float,
        device: torch.device,
    ) -> None:
        part = checked_part(image, factor)
        height, width = (length // zoom * zoom for length in part.shape[2:])
        part = part[..., :height, :width]
        son = shrink(part, factor)
        if noise:  # as on the sons in training; otherwise a network that removes noise would have a large error
            son = son + noise * torch.randn(son.shape, generator=torch.Generator().manual_seed(0))
        enlarged = resize(son, factor, size=(part.shape[-2], part.shape[-1]))
        self.bicubic = float((enlarged - part).square().mean())
        self.device, self._gt, self.pixels = device, part.to(device), height * width
        given = son if zoom > 1 else enlarged
        self.input = given.to(device).contiguous(memory_format=torch.channels_last)

    def error(self, network: Forward) -> float:
        """Mean squared error of the network's reconstruction."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return float((network(self.input) - self._gt).square().mean())
