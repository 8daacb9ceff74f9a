"""Translation network with an input and an output at each of N resolutions.

After a patent of UniDT (Huayuan Computing) on multi-resolution, multi-loss image translation. Related work: the
generator of pix2pixHD (Wang et al., CVPR 2018) also grows from a coarse one; MIMO-UNet (Cho et al., ICCV 2021) also has
an input and an output per resolution; the trunk of residual blocks is that of Johnson et al. (ECCV 2016).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.networks.arguments import refuse_below_one
from restore.networks.contract import RestorationNetwork

WIDEST = 16  # maximum channels, as a multiple of the width


def _block(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, instance norm, ReLU.

    No bias, which the norm would cancel. Padded with zeros, the grey of the centred input, because the gradient of
    reflection padding has no deterministic implementation on GPUs.
    """
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.InstanceNorm2d(outputs), nn.ReLU(inplace=True))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class InstanceNormResidualBlock(nn.Module):
    """conv3 - instance norm - ReLU - conv3 - instance norm, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_block(channels, channels), _conv(channels, channels), nn.InstanceNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        out: Tensor = x + self.body(x)
        return out


class Trunk(nn.Module):
    """Below the lowest level: downsampling by 2 twice, residual blocks, upsampling by 2."""

    def __init__(self, channels: int, middle: int, deep: int, blocks: int) -> None:
        super().__init__()
        self.down = nn.Sequential(_block(channels, middle, stride=2), _block(middle, deep, stride=2))
        self.blocks = nn.Sequential(*(InstanceNormResidualBlock(deep) for _ in range(blocks)))
        self.up = _block(deep, middle)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, middle, H / 2, W / 2)."""
        out: Tensor = self.up(_twice(self.blocks(self.down(x))))
        return out


class Incoming(nn.Module):
    """The contribution of a level to the fusion at the next lower level; initially zero.

    A fusion is a 3x3 convolution of a level's own features concatenated with those from above, which equals a sum of
    one convolution of each. This is the half for the features from above, so it belongs to the level above: it is
    trained with that level, and has no effect when that level starts.
    """

    def __init__(self, channels: int, lower: int) -> None:
        super().__init__()
        self.down = _block(channels, lower, stride=2)
        self.merge = _conv(lower, lower)
        nn.init.zeros_(self.merge.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, lower, H / 2, W / 2)."""
        out: Tensor = self.merge(self.down(x))
        return out


class Level(nn.Module):
    """One resolution: its input module, its half of the fusion, its decoder block and its output.

    Args:
        inputs: channels of its input image.
        channels: channels of its features.
        below: channels of the decoder's features at the next lower resolution.
        lower: channels of the next lower level's features, or None at the lowest level.
        is_highest: whether there is no level above to fuse with.
    """

    def __init__(self, inputs: int, channels: int, below: int, lower: int | None, *, is_highest: bool) -> None:
        super().__init__()
        self.own = nn.Sequential(_block(inputs, channels, size=7), _conv(channels, channels))
        self.fuse = nn.Identity() if is_highest else _conv(channels, channels)
        self.settle = nn.Sequential(nn.InstanceNorm2d(channels), nn.ReLU(inplace=True))
        self.incoming = None if lower is None else Incoming(channels, lower)
        self.up = _block(below, channels)
        self.refine = nn.Sequential(_block(2 * channels, channels), _block(channels, channels))
        self.head = nn.Conv2d(channels, 3, 7, padding=3)

    def encode(self, image: Tensor, above: Tensor | None) -> Tensor:
        """(N, inputs, H, W) in [-1, 1] and features from above, (N, channels, H, W) or None, to (N, channels, H, W)."""
        features = self.fuse(self.own(image))
        out: Tensor = self.settle(features if above is None else features + above)
        return out

    def decode(self, x: Tensor, encoded: Tensor) -> Tensor:
        """(N, below, H / 2, W / 2) and this level's encoder features (N, C, H, W) -> (N, C, H, W)."""
        out: Tensor = self.refine(torch.cat([self.up(_twice(x)), encoded], 1))
        return out

    def image(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 3, H, W) in [0, 1]."""
        return (torch.tanh(self.head(features)) + 1) / 2


class MultiResTranslation(RestorationNetwork):
    """N inputs, N outputs: encoders fused from high to low, a trunk, decoders cascaded from low to high resolution.

    Level 0 is the full resolution; each further level has half the sides. Level r has ``width * 2**r`` channels, which
    the trunk below the lowest level doubles twice more, at most to 16 times the width. The default, three levels of
    width 32, has 46.8 M parameters and needs 442 GMAC at 1024x1024.

    Args:
        levels: number of resolutions, including the full one.
        width: channels at full resolution.
        blocks: residual blocks in the trunk.
        in_channels: channels of the inputs.

    Attributes:
        top: the highest trained level, whose output is the result; a buffer, so that it is stored with the weights.

    Raises:
        ValueError: another value.
    """

    protocol = "translation_rgb"
    scale = 1
    why_no_tiles = (
        "instance norm takes its means over the whole image, so every tile would get colours and contrasts of its own"
    )
    keeps_kind = False
    top: Tensor

    def __init__(self, *, levels: int = 3, width: int = 32, blocks: int = 9, in_channels: int = 3) -> None:
        super().__init__()
        refuse_below_one(levels=levels, width=width, blocks=blocks, in_channels=in_channels)
        channels = [width * min(2**r, WIDEST) for r in range(levels + 2)]
        self.levels = nn.ModuleList(
            Level(
                in_channels,
                channels[r],
                channels[r + 1],
                channels[r + 1] if r < levels - 1 else None,
                is_highest=r == 0,
            )
            for r in range(levels)
        )
        self.trunk = Trunk(channels[-3], channels[-2], channels[-1], blocks)
        self.in_channels = in_channels
        self.multiple_of = 2 ** (levels + 1)
        self.min_size = 2 * self.multiple_of  # instance norm needs more than one value
        # The peak is at the decoder of the highest level, where enlarged features, encoder features and results are
        # alive, five times the width; the rest, measured, is held by a 7x7 convolution of three channels and the
        # allocator.
        self.bytes_per_pixel = math.ceil(4 * 1.15 * (5 * width + 88))
        self.register_buffer("top", torch.tensor(0))

    def modules_of(self, level: int) -> list[nn.Module]:
        """Modules trained in a level's stage: the level, its part of the lower fusion, and at the lowest the trunk."""
        return [self.levels[level], *([self.trunk] if level == len(self.levels) - 1 else [])]

    def decoder_features(self, inputs: Sequence[Tensor], top: int = 0) -> list[Tensor]:
        """Decoder features of the levels from ``top`` down, the highest first; for arguments see :meth:`outputs`."""
        encoded: list[Tensor] = []
        above: Tensor | None = None
        for level, image in zip(self._from(top), inputs[top:], strict=True):
            encoded.append(level.encode(2 * image - 1, above))
            above = None if level.incoming is None else level.incoming(encoded[-1])
        x = self.trunk(encoded[-1])
        found: list[Tensor] = []
        for level in reversed(self._from(top)):
            x = level.decode(x, encoded.pop())  # popped, so that a large image's map is freed after its use
            found.insert(0, x)
        return found

    def outputs(self, inputs: Sequence[Tensor], top: int = 0) -> list[Tensor]:
        """One image for each level from ``top`` down.

        Args:
            inputs: one per level, (N, in_channels, H / 2**r, W / 2**r) in [0, 1], the full resolution first; H and W
                multiples of ``multiple_of`` and at least twice that.
            top: levels above it are ignored.

        Returns:
            (N, 3, H / 2**r, W / 2**r) in [0, 1] for r = top ... levels - 1.
        """
        features = self.decoder_features(inputs, top)
        return [level.image(x) for level, x in zip(self._from(top), features, strict=True)]

    def highest(self, inputs: Sequence[Tensor], top: int = 0) -> Tensor:
        """Only the first of :meth:`outputs`, which is all that inference needs."""
        return self._from(top)[0].image(self.decoder_features(inputs, top)[0])

    def _from(self, top: int) -> list[Level]:
        return [level for level in self.levels if isinstance(level, Level)][top:]
