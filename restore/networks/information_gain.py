"""Information-gain attention network for super-resolution.

Li, Li, Li, Liu, Gao, "Information-Growth Attention Network for Image Super-Resolution", ACM Multimedia 2021,
doi 10.1145/3474085.3475207. The idea: a group of residual blocks adds information to its input; the difference
between its output and input (the gain) tells best which channels deserve weight.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.networks import linear_end
from restore.networks.arguments import ArgumentError, refuse_below_one
from restore.networks.attention_generator import AttentionGenerator
from restore.networks.contract import Forward, RestorationNetwork
from restore.networks.second_order import SecondOrderAttention
from restore.ops import row_bands, tiling

Attention = Literal["gain", "self", "second_order", "none"]
ImageSkip = Literal["bicubic", "none"]

END_PARTS, END_LEAST = 8, 16  # number of bands in which the end is computed, and their minimum height in lq pixels
END_RADIUS = 2  # receptive radius of upsampler and tail, in lq pixels

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # RGB, [0, 1], of the training images; used by most networks of the field


class ResidualBlock(nn.Module):
    """conv3 - ReLU - conv3, plus the input (Lim et al., EDSR, CVPRW 2017, fig. 2c, residual scale 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def branch(self, x: Tensor) -> Tensor:
        """The residual that the block adds to its input: (N, C, H, W)."""
        out: Tensor = self.conv2(F.relu(self.conv1(x), inplace=True))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return self.branch(x).add_(x)  # in place: saves one map, and no gradient needs the old values

    def in_bands(self, x: Tensor, out: Tensor) -> None:
        """Write the result of :meth:`forward` into ``out``; see :mod:`restore.ops.row_bands`."""
        for top, bottom in row_bands.bands(x, "residual block"):
            branch = row_bands.convolved_twice(self.conv1, self.conv2, x, top, bottom)
            torch.add(branch, x[..., top:bottom, :], out=out[..., top:bottom, :])


class ResidualGroup(nn.Module):
    """Residual blocks whose output is weighted per channel, then a convolution, plus the group's input."""

    def __init__(self, channels: int, blocks: int, attention: Attention) -> None:
        super().__init__()
        self.kind = attention
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(blocks))
        self.attention: nn.Module | None = None
        if attention == "second_order":
            self.attention = SecondOrderAttention(channels)
        elif attention != "none":
            self.attention = AttentionGenerator(channels)
        self.close = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, original: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if row_bands.pays_for(original):
            return self._in_bands(original)
        current = original
        for block in self.blocks:
            current = block(current)
        current = self._weighted(current, original)
        out: Tensor = self.close(current).add_(original)
        return out

    def _in_bands(self, original: Tensor) -> Tensor:
        """Like :meth:`forward`, with two maps for all blocks, because allocating a map takes as long as filling it."""
        current, spare = original, torch.empty_like(original)
        for block in self.blocks:
            assert isinstance(block, ResidualBlock)
            block.in_bands(current, spare)
            current, spare = spare, torch.empty_like(original) if current is original else current
        current = self._weighted(current, original)
        for top, bottom in row_bands.bands(current, "convolution"):
            closed = row_bands.convolved(self.close, current, top, bottom)
            torch.add(closed, original[..., top:bottom, :], out=spare[..., top:bottom, :])
        return spare

    def _weighted(self, current: Tensor, original: Tensor) -> Tensor:
        """The blocks' output, weighted per channel; in place if there are no gradients."""
        if self.attention is None:
            return current
        if isinstance(self.attention, AttentionGenerator) and row_bands.pays_for(current):
            weight = self.attention.in_bands(current, original if self.kind == "gain" else None)
        else:
            weight = self.attention(current - original if self.kind == "gain" else current)
        return current * weight if torch.is_grad_enabled() else current.mul_(weight)


class Upsampler(nn.Sequential):
    """Sub-pixel upsampling (Shi et al., CVPR 2016): x2 stages for scales 2, 4 and 8; one x3 stage for 3."""

    def __init__(self, scale: int, channels: int) -> None:
        factors = [3] if scale == 3 else [2] * int(math.log2(scale))
        stages: list[nn.Module] = []
        for factor in factors:
            stages += [nn.Conv2d(channels, channels * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
        super().__init__(*stages)


class InformationGainNetwork(RestorationNetwork):
    """conv - residual groups with attention - sub-pixel upsampling - conv, with a skip around all groups.

    Args:
        scale: 2, 3, 4 or 8.
        groups, blocks, channels: residual groups, residual blocks in each, feature channels (a multiple of 4).
        attention: ``gain`` (the method), ``self`` (the same module fed the current features), ``second_order``
            (Dai et al., SAN, CVPR 2019) or ``none``.
        image_skip: ``bicubic`` adds the bicubically enlarged input, so that a short training need not learn to
            interpolate; ``none`` is the published network.

    Raises:
        ValueError: another value.
    """

    protocol = "sr_y"
    scale: int

    def __init__(
        self,
        *,
        scale: int = 2,
        groups: int = 20,
        blocks: int = 10,
        channels: int = 64,
        attention: Attention = "gain",
        image_skip: ImageSkip = "none",
    ) -> None:
        super().__init__()
        _check(scale, groups, blocks, channels, attention, image_skip)
        self.scale, self.channels, self.image_skip = scale, channels, image_skip
        self.mean = nn.Buffer(torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1))
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.groups = nn.ModuleList(ResidualGroup(channels, blocks, attention) for _ in range(groups))
        self.upsampler = Upsampler(scale, channels)
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)
        self.convolutions = 2 * blocks + 1  # in sequence, in each group
        self.pool_window: int | None = None
        self.halo = self._radius(0) if attention == "none" else None
        self.bytes_per_pixel = self._bytes_per_pixel()
        self.to(memory_format=torch.channels_last)

    def pool_locally(self, window: int) -> None:
        """Let the attention average over ``window`` lq pixels around each position instead of the whole image.

        The output then depends on ``halo`` lq pixels around it; tiles must start at even positions.

        Raises:
            ValueError: the window is below 2, or this kind of attention has no such means.
        """
        if window < 2 or window % 2:
            raise ArgumentError("window", window, "an even number of at least 2 lq pixels")
        for group in self.groups:
            if not isinstance(group.attention, AttentionGenerator):
                raise ArgumentError("window", window, f"None, because attention={group.kind} has no mean")
            group.attention.window = window
        self.pool_window = window
        # two convolutions, the second after the max-pool; the max-pool's cell; and half the window
        self.halo = self._radius(1 + 2 + 1 + 2 * (window // 4))
        self.multiple_of = 2  # tiles start on the max-pool's grid
        self.bytes_per_pixel = self._bytes_per_pixel()

    def _radius(self, attention: int) -> int:
        """Receptive radius in lq pixels: 3x3 convolutions count 1, those after upsampling 1 / their zoom."""
        radius = 1.0 + len(self.groups) * (self.convolutions + attention)
        zoom = 1
        for layer in self.upsampler:
            if isinstance(layer, nn.PixelShuffle):
                zoom *= layer.upscale_factor
            else:
                radius += 1 / zoom
        return max(math.ceil(radius + 1 / zoom), 2)  # 2: the bicubic skip

    def _bytes_per_pixel(self) -> int:
        """Peak memory of an inference, in the groups or at the end, with a margin for memory held by the allocator."""
        grown = self.channels * self.scale**2
        last_input = self.channels if self.scale == 3 else grown // 4
        in_group = (7 if self.pool_window is None else 9) * self.channels  # five maps are alive, or seven
        at_end = 2 * self.channels + (last_input + 2 * grown) * (1 + 2 * END_RADIUS / END_LEAST) / END_PARTS
        floats = max(in_group, at_end) + 6 * self.scale**2
        return math.ceil(4 * 1.15 * floats)

    def features(self, lq: Tensor) -> list[Tensor]:
        """Outputs of the head and of every group, from shallow to deep, (N, C, H, W) each."""
        maps: list[Tensor] = [self.head(lq - self.mean)]
        maps.extend(group(maps[-1]) for group in self.groups)
        return maps

    def forward(self, lq: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 3, scale H, scale W), not clamped; any H, W >= 1."""
        at_once = torch.is_grad_enabled() or torch.compiler.is_compiling()
        rows = None if at_once else max(END_LEAST, math.ceil(lq.shape[-2] / END_PARTS))
        return self._enlarged(lq.contiguous(memory_format=torch.channels_last), rows)

    def traceable(self) -> Forward:
        """See the base class."""
        return self._enlarged

    def _enlarged(self, lq: Tensor, rows: int | None = None) -> Tensor:
        """Run the network; the end, which has the largest maps, in bands of ``rows`` lq pixels, or at once if None."""
        shallow: Tensor = self.head(lq - self.mean)
        deep = shallow
        for group in self.groups:  # not features(), which would keep every map alive
            deep = group(deep)
        deep = deep.add_(shallow)
        if rows is None:
            pred = self._end(deep)
        elif linear_end.pays_for(deep, END_RADIUS):
            pred = linear_end.enlarged(self._end, deep, scale=self.scale, radius=END_RADIUS)
        else:
            pred = tiling.by_rows(self._end, deep, scale=self.scale, rows=rows, halo=END_RADIUS)
        if self.image_skip == "bicubic":
            # antialias=True selects the kernel with a = -0.5 used by benchmarks; it is not stretched for upsampling
            return pred + F.interpolate(lq, scale_factor=self.scale, mode="bicubic", antialias=True)
        return pred + self.mean

    def _end(self, deep: Tensor) -> Tensor:
        pred: Tensor = self.tail(self.upsampler(deep))
        return pred


def _check(scale: int, groups: int, blocks: int, channels: int, attention: str, image_skip: str) -> None:
    if scale not in (2, 3, 4, 8):
        raise ArgumentError("scale", scale, "2, 3, 4 or 8; enlarge twice for other factors")
    refuse_below_one(groups=groups, blocks=blocks)
    if channels < 4 or channels % 4:
        raise ArgumentError("channels", channels, "a multiple of 4, because the attention quarters it")
    if attention not in ("gain", "self", "second_order", "none"):
        raise ArgumentError("attention", attention, "gain, self, second_order or none")
    if image_skip not in ("bicubic", "none"):
        raise ArgumentError("image_skip", image_skip, "bicubic or none")
