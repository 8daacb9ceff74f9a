"""The image that a zero-shot network is trained on, shrunk, enlarged and held against itself."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from restore.ops.resize import resize
from restore.ops.tiling import Forward

CHECKED_SIDE = 512  # the error of a larger image is that of its middle


class Reconstruction:
    """What a network makes of the image's son, against the image (Shocher et al., CVPR 2018, section 3.2).

    Args:
        image: float, (3, H, W), [0, 1].
        factor: of the scale step.
        shrink: makes sons, (image, factor) -> son.
        noise: standard deviation of what is added to sons, in [0, 1].
        device: of the network.

    Attributes:
        bicubic: mean square error of interpolation alone.
    """

    def __init__(
        self,
        image: Tensor,
        factor: float,
        *,
        shrink: Callable[[Tensor, float], Tensor],
        noise: float,
        device: torch.device,
    ) -> None:
        # the son has another phase than those trained on, so knowing them by heart does not help
        corner = (max(0, length - CHECKED_SIDE) // 2 for length in image.shape[1:])
        top, left = (length - length % round(factor) + 1 for length in corner)
        part = image[None, :, top : top + CHECKED_SIDE, left : left + CHECKED_SIDE]
        son = shrink(part, factor)
        if noise:  # as on the sons trained on, or a network that takes noise away would look bad
            son = son + noise * torch.randn(son.shape, generator=torch.Generator().manual_seed(0))
        enlarged = resize(son, factor, size=(part.shape[-2], part.shape[-1]))
        self.bicubic = float((enlarged - part).square().mean())
        self.device, self._gt = device, part.to(device)
        self._enlarged = enlarged.to(device).contiguous(memory_format=torch.channels_last)

    def error(self, network: Forward) -> float:
        """Mean square error of the network's reconstruction."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return float((network(self._enlarged) - self._gt).square().mean())

    def seconds_of_a_pixel(self, network: Forward) -> float:
        """How long the network takes, measured once, for a pixel of an enlarged image."""
        started = self._clock()
        with torch.no_grad():
            network(self._enlarged)
        return (self._clock() - started) / self._enlarged[0, 0].numel()

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.monotonic()
