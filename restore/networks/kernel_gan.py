"""The two networks that estimate the blur kernel of an image.

Bell-Kligler, Shocher, Irani, "Blind Super-Resolution Kernel Estimation using an Internal-GAN", NeurIPS 2019, section 4
(KernelGAN): the generator downscales the image, the discriminator tells its patches from the image's own.
"""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SIZES = (7, 5, 3, 1, 1, 1)
TAPS = 13  # size of the kernel that these convolutions form together


class LinearGenerator(nn.Module):
    """Convolutions in sequence without bias or activation: together they are a single kernel, which is learned better.

    Args:
        channels: number between the convolutions.
        scale: stride of the last convolution.
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
        """The kernel, (13, 13), with which :meth:`forward` correlates; 13 times cheaper than downscaling a crop."""
        impulse = next(self.parameters()).new_zeros(1, 1, 2 * TAPS - 1, 2 * TAPS - 1)
        impulse[..., TAPS - 1, TAPS - 1] = 1
        answer: Tensor = self.layers(impulse)
        return answer[0, 0].flip(0, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 1, (H - 13) // scale + 1, (W - 13) // scale + 1); colours are separate images."""
        blurred: Tensor = self.layers(image)
        return blurred[..., :: self.scale, :: self.scale]


class KernelDiscriminator(nn.Module):
    """One value per 7 x 7 patch: 1 for the image's own, 0 for generated ones (least squares, so no sigmoid).

    Args:
        in_channels: channels of the image.
        channels: number between the convolutions.
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
