"""The two networks that look for an image's own blur kernel.

Bell-Kligler, Shocher, Irani, "Blind Super-Resolution Kernel Estimation using an Internal-GAN", NeurIPS 2019, section 4
(KernelGAN): the generator shrinks the image, the discriminator tells the shrunk image's patches from the image's own.
"""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SIZES = (7, 5, 3, 1, 1, 1)
TAPS = 13  # samples of the kernel that convolutions of these sizes make together


class LinearGenerator(nn.Module):
    """Convolutions one after another without bias or activation: together they are one kernel, learned more easily.

    Args:
        channels: between the convolutions.
        scale: the stride of the last one.
    """

    def __init__(self, *, channels: int = 64, scale: int = 2) -> None:
        super().__init__()
        widths = [1, *[channels] * (len(SIZES) - 1), 1]
        self.layers = nn.Sequential(
            *(nn.Conv2d(widths[n], widths[n + 1], size, bias=False) for n, size in enumerate(SIZES))
        )
        self.scale = scale
        for weight in self.parameters():
            nn.init.xavier_normal_(weight)

    def kernel(self) -> Tensor:
        """(13, 13), the kernel that :meth:`forward` correlates with; 13 times cheaper than shrinking a crop."""
        impulse = next(self.parameters()).new_zeros(1, 1, 2 * TAPS - 1, 2 * TAPS - 1)
        impulse[..., TAPS - 1, TAPS - 1] = 1
        answer: Tensor = self.layers(impulse)
        return answer[0, 0].flip(0, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 1, (H - 13) // scale + 1, (W - 13) // scale + 1); colours go in as separate images."""
        blurred: Tensor = self.layers(image)
        return blurred[..., :: self.scale, :: self.scale]


class KernelDiscriminator(nn.Module):
    """A value for each 7 x 7 patch, 1 for the image's own, 0 for made ones, as least squares wants it (no sigmoid).

    Args:
        in_channels: of the image.
        channels: between the convolutions.
        depth: 1 x 1 convolutions, each with batch normalisation and ReLU; all weights are spectrally normalised.
    """

    def __init__(self, *, in_channels: int = 3, channels: int = 64, depth: int = 5) -> None:
        super().__init__()
        layers: list[nn.Module] = [spectral_norm(nn.Conv2d(in_channels, channels, 7))]
        for _ in range(depth):
            layers += [
                spectral_norm(nn.Conv2d(channels, channels, 1, bias=False)),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(channels, 1, 1)))

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, 1, H - 6, W - 6), unbounded."""
        value: Tensor = self.layers(image)
        return value
