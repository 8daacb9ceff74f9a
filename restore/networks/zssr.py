"""The small residual network that zero-shot super-resolution trains on one image.

Shocher, Cohen, Irani, "Zero-Shot Super-Resolution using Deep Internal Learning", CVPR 2018, section 3.2: the image is
interpolated to the output size first; eight hidden layers of 64 channels with ReLU learn the missing detail.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from restore.networks.arguments import ArgumentError, refuse_below_one


class ZSSRNetwork(nn.Module):
    """Convolutions with ReLU between them, added to the input.

    He initialisation (He et al., ICCV 2015, eq. 10, fan-in); the output layer's weights are scaled by 0.1, so that
    training starts near the interpolated image. An output layer of zeros was tried and did not learn.

    Args:
        channels: 3 for colour images; 1 to process each channel separately with the same layers.
        width: channels of the hidden layers.
        depth: hidden layers; one more convolution computes the output.
        kernel_size: odd; of every convolution.

    Raises:
        ValueError: another value.
    """

    def __init__(self, *, channels: int = 3, width: int = 64, depth: int = 8, kernel_size: int = 3) -> None:
        super().__init__()
        refuse_below_one(width=width, depth=depth)
        if channels not in (1, 3):
            raise ArgumentError("channels", channels, "3, or 1 for one channel at a time")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ArgumentError("kernel_size", kernel_size, "an odd number")
        self.channels = channels
        self.radius = (depth + 1) * (kernel_size // 2)  # receptive radius, in pixels of the enlarged image
        sizes = [channels, *[width] * depth, channels]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers[:-1])
        self._initialise()

    def _initialise(self) -> None:
        convolutions = [layer for layer in self.layers if isinstance(layer, nn.Conv2d)]
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
        with torch.no_grad():
            convolutions[-1].weight.mul_(0.1)

    def interpolate_only(self) -> None:
        """Set the output layer to zero, so that the result is the interpolated image."""
        output = self.layers[-1]
        assert isinstance(output, nn.Conv2d)
        assert output.bias is not None
        nn.init.zeros_(output.weight)
        nn.init.zeros_(output.bias)

    def forward(self, enlarged: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), not clamped."""
        if self.channels == 1:
            planes = enlarged.flatten(0, 1)[:, None]
            of_planes: Tensor = planes + self.layers(planes)
            return of_planes.view(enlarged.shape)
        pred: Tensor = enlarged + self.layers(enlarged)
        return pred
