"""Translation network with an input and an output at each of N resolutions.

After a patent of UniDT (Huayuan Computing) on multi-resolution, multi-loss image translation. Its kin: the generator of
pix2pixHD (Wang et al., CVPR 2018) grows from a coarse one in the same way; MIMO-UNet (Cho et al., ICCV 2021) has an
input and an output per resolution too; the trunk of residual blocks is that of Johnson et al. (ECCV 2016).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.networks.arguments import refuse_below_one
from restore.networks.contract import RestorationNetwork

WIDEST = 16  # channels stop doubling at this many times the width


def _block(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, instance norm, ReLU.

    No bias, which the norm would take away again. Padded with zeros, the grey of the centred input: the gradient of
    reflection has no deterministic form on GPUs.
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
        """(N, channels, H, W), the same out."""
        out: Tensor = x + self.body(x)
        return out


class Trunk(nn.Module):
    """Below the lowest level: two halvings, residual blocks, one doubling."""

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
    """What a level adds to the fusion of the next lower one; it begins as zero.

    A fusion is a 3x3 convolution of the concatenation of a level's own features and those from above, which is a sum of
    one convolution of each. This one is the half for what comes from above, so it belongs to the level above: trained
    with it, and silent at the moment that level joins.
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
        channels: of its features.
        below: channels of the decoder's features one resolution lower.
        lower: channels of the next lower level's features, or None in the lowest.
        is_highest: there is nothing above to fuse with.
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
        """(N, inputs, H, W) in [-1, 1], and what comes in from above, (N, channels, H, W), to (N, channels, H, W)."""
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
    """N inputs, N outputs: encoders fused from high to low, a trunk, decoders cascaded from low to high.

    Level 0 is the full resolution, each next one half of it. Level r has ``width * 2**r`` channels, and below the
    lowest the trunk doubles them twice more, always at most 16 times the width. With the default of three levels and
    width 32 that is 46.8 M parameters and 442 GMAC at 1024x1024.

    Args:
        levels: number of resolutions, the full one included.
        width: channels at full resolution.
        blocks: residual blocks of the trunk.
        in_channels: of the inputs.

    Attributes:
        top: the highest level that has been trained, which is the one whose output counts; a buffer, so that it goes
            with the weights.

    Raises:
        ValueError: for a value outside these.
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
        # At the peak the highest level decodes. Enlarged features, those from the encoder and their results are alive,
        # five times the width; the rest, measured, is what a 7x7 convolution of three channels and the allocator keep.
        self.bytes_per_pixel = math.ceil(4 * 1.15 * (5 * width + 88))
        self.register_buffer("top", torch.tensor(0))

    def modules_of(self, level: int) -> list[nn.Module]:
        """What a level's stage trains: the level, with what it adds to the next lower one, and the lowest the trunk."""
        return [self.levels[level], *([self.trunk] if level == len(self.levels) - 1 else [])]

    def decoder_features(self, inputs: Sequence[Tensor], top: int = 0) -> list[Tensor]:
        """Decoder features of the levels ``top`` and below, the highest first; arguments as of :meth:`outputs`."""
        encoded: list[Tensor] = []
        above: Tensor | None = None
        for level, image in zip(self._from(top), inputs[top:], strict=True):
            encoded.append(level.encode(2 * image - 1, above))
            above = None if level.incoming is None else level.incoming(encoded[-1])
        x = self.trunk(encoded[-1])
        found: list[Tensor] = []
        for level in reversed(self._from(top)):
            x = level.decode(x, encoded.pop())  # popped, so that a large image's map is freed when it was used
            found.insert(0, x)
        return found

    def outputs(self, inputs: Sequence[Tensor], top: int = 0) -> list[Tensor]:
        """An image for each level from ``top`` down.

        Args:
            inputs: one for each level, (N, in_channels, H / 2**r, W / 2**r) in [0, 1], the full resolution first; H and
                W multiples of ``multiple_of`` and at least twice that.
            top: levels above it take no part, as if they did not exist.

        Returns:
            (N, 3, H / 2**r, W / 2**r) in [0, 1] for r = top ... levels - 1.
        """
        features = self.decoder_features(inputs, top)
        return [level.image(x) for level, x in zip(self._from(top), features, strict=True)]

    def highest(self, inputs: Sequence[Tensor], top: int = 0) -> Tensor:
        """The first of :meth:`outputs` alone, which is all that inference needs."""
        return self._from(top)[0].image(self.decoder_features(inputs, top)[0])

    def _from(self, top: int) -> list[Level]:
        return [level for level in self.levels if isinstance(level, Level)][top:]
