"""PatchGAN discriminator, conditional on the input (Isola et al., "pix2pix", CVPR 2017, section 3.2.2)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


def strided_layers(side: int) -> int:
    """Number of strided convolutions: three, for patches of 70x70 pixels, or fewer if the images are too small.

    Args:
        side: smaller side of the images that it sees, in pixels.
    """
    return max(1, min(3, int(math.log2(side)) - 3))


class PatchDiscriminator(nn.Module):
    """4x4 convolutions with leaky ReLU 0.2: the strided ones, one more, and one to a logit per patch.

    Instance norm except in the first and the last (Ulyanov et al., 2016).

    Args:
        in_channels: channels of the condition; the image adds 3.
        width: channels after the first convolution, doubled by each further one, at most to 8 times the width.
        layers: strided convolutions: 3 for patches of 70x70 pixels, 2 for 34x34, 1 for 16x16.
        spectral: spectral norm of every convolution (Miyato et al., ICLR 2018) instead of instance norm.
    """

    def __init__(self, *, in_channels: int = 3, width: int = 64, layers: int = 3, spectral: bool = False) -> None:
        super().__init__()
        sizes = [in_channels + 3] + [width * min(2**k, 8) for k in range(layers + 1)]
        self.blocks = nn.ModuleList()
        for k in range(layers + 1):
            conv = nn.Conv2d(sizes[k], sizes[k + 1], 4, 2 if k < layers else 1, padding=1)
            is_normed = k > 0 and not spectral
            norm = nn.InstanceNorm2d(sizes[k + 1]) if is_normed else nn.Identity()
            self.blocks.append(nn.Sequential(_normed(conv, spectral), norm, nn.LeakyReLU(0.2, inplace=True)))
        self.last = _normed(nn.Conv2d(sizes[-1], 1, 4, padding=1), spectral)

    def forward(self, condition: Tensor, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Compute one logit per patch.

        Args:
            condition: (N, in_channels, H, W) in [0, 1].
            image: (N, 3, H, W) in [0, 1], real or generated; H and W at least 8.

        Returns:
            Logits (N, 1, h, w), large for real images, and the features of every block, for feature matching.
        """
        x = 2 * torch.cat([condition, image], 1) - 1
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return self.last(x), features


def _normed(conv: nn.Conv2d, spectral: bool) -> nn.Module:
    return spectral_norm(conv) if spectral else conv
