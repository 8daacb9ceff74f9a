"""Attention network for motion deblurring.

Xu, Zhu, Quan, Ji, "Attentive deep network for blind motion deblurring on dynamic scenes", Computer Vision and Image
Understanding 205:103169, 2021. The idea: motion in a scene is not uniform, so a weight that varies over positions
tells every module where restoration is needed.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.networks.arguments import ArgumentError, refuse_below_one
from restore.networks.contract import Forward, RestorationNetwork

Attention = Literal["spatial", "channel_spatial", "none"]


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 5, stride, padding=2)


def _relu(x: Tensor) -> Tensor:
    return F.relu(x, inplace=True)


class SpatialAttention(nn.Module):
    """One weight in (0, 1) per position, from two 1x1 convolutions with ``channels / squeeze`` features in between."""

    def __init__(self, channels: int, squeeze: int = 16) -> None:
        super().__init__()
        squeezed = max(1, channels // squeeze)
        self.conv1 = nn.Conv2d(channels, squeezed, 1)
        self.conv2 = nn.Conv2d(squeezed, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1, H, W)."""
        return torch.sigmoid(self.conv2(_relu(self.conv1(x))))


class ChannelAttention(nn.Module):
    """One weight in (0, 1) per channel (Hu, Shen, Sun, "Squeeze-and-Excitation Networks", CVPR 2018, fig. 2)."""

    def __init__(self, channels: int, squeeze: int = 16) -> None:
        super().__init__()
        squeezed = max(1, channels // squeeze)
        self.conv1 = nn.Conv2d(channels, squeezed, 1)
        self.conv2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        mean = x.mean((2, 3), keepdim=True)
        return torch.sigmoid(self.conv2(_relu(self.conv1(mean))))


class AttentionModule(nn.Module):
    """conv5 - ReLU - conv5, weighted, plus the input; a 1x1 projection if the number of channels changes.

    With both kinds of attention the channels are weighted first (Woo et al., CBAM, ECCV 2018, section 3).
    """

    def __init__(self, inputs: int, outputs: int, attention: Attention, squeeze: int = 16) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs)
        self.conv2 = _conv(outputs, outputs)
        self.channel = ChannelAttention(outputs, squeeze) if attention == "channel_spatial" else None
        self.spatial = SpatialAttention(outputs, squeeze) if attention != "none" else None
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        branch: Tensor = self.conv2(_relu(self.conv1(x)))
        if self.channel is not None:
            branch = branch * self.channel(branch)
        if self.spatial is not None:
            branch = branch * self.spatial(branch)
        branch += self.skip(x)  # in place: saves one large map, and no gradient needs the old values
        return branch


class Strength(nn.Module):
    """How strongly each part of an image is to be deblurred: one factor in [0, 1] per position, from all features.

    A sharp image must come out unchanged, but the attention modules see only a few pixels around a position, and
    whether a photo is blurred shows in the energies of features at all resolutions, over many positions. So the
    energies are averaged over a window, and two 1x1 convolutions map their logarithms to the factor. Not in the paper.

    Args:
        channels: of all maps together.
    """

    WINDOW = 33  # positions of the lowest resolution, 4 px each: several edges, and moving objects apart from others
    HIDDEN = 64

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels + 1, self.HIDDEN, 1), nn.Conv2d(self.HIDDEN, 1, 1)

    @staticmethod
    def energy(x: Tensor, step: int) -> Tensor:
        """(N, C, H, W) -> (N, C, H / step, W / step), mean squares."""
        return F.avg_pool2d(x.square(), step)

    @staticmethod
    def inputs(energies: Tensor) -> Tensor:
        """Logarithms of mean energies (N, C, h, w) beside their mean, and the mean -> (N, C + 1, h, w)."""
        logs = torch.log(energies + 1e-8)
        contrast = logs.mean(1, keepdim=True)
        return torch.cat([(logs - contrast) / 2, contrast / 4], 1)

    def unbounded(self, inputs: Tensor) -> Tensor:
        """(N, C + 1, h, w) -> (N, 1, h, w) in (-0.1, 1.1): beyond 0 and 1, so that both are reached."""
        return 1.2 * torch.sigmoid(self.conv2(_relu(self.conv1(inputs)))) - 0.1

    def forward(self, energies: list[Tensor]) -> Tensor:
        """Of maps (N, C, h, w) -> (N, 1, h, w) in [0, 1]; at 0 an image stays as it is, to the last bit."""
        mean = F.avg_pool2d(torch.cat(energies, 1), self.WINDOW, 1, self.WINDOW // 2, count_include_pad=False)
        return self.unbounded(self.inputs(mean)).clamp(0, 1)


class AttentionUNet(RestorationNetwork):
    """Encoder and decoder of 5x5 convolutions with attention modules at three resolutions, joined by concatenation.

    conv1 - a1 - conv2 (stride 2) - a2 - conv3 (stride 2) - a3 | a4 - up - conv4 - a5 - up - conv5 - a6 - conv6; a5 also
    gets a2's output, and a6 also a1's. The sides of the input must be multiples of 4.

    Args:
        width: feature channels at full resolution, published 32; doubled at each lower resolution.
        modules: attention modules in each of a1 to a6, published 3.
        attention: ``spatial`` (the method), ``channel_spatial`` (as in the paper) or ``none``.
        squeeze: channels per hidden feature of an attention module, published 16, which leaves one feature of 16
            channels.
        strength: multiply what is added to the input by :class:`Strength`; requires ``global_residual``.
        global_residual: add the input to the output, and start with an output of zero, so that training starts at the
            blurred image's score; not in the published network.

    Raises:
        ValueError: another value.
    """

    protocol = "deblur_rgb"
    scale = 1
    multiple_of = 4

    def __init__(
        self,
        *,
        width: int = 32,
        modules: int = 3,
        attention: Attention = "spatial",
        squeeze: int = 16,
        strength: bool = False,
        global_residual: bool = False,
    ) -> None:
        super().__init__()
        _check(width, modules, attention, squeeze)
        if strength and not global_residual:
            raise ArgumentError("strength", strength, "false without global_residual")
        self.width, self.modules_per_level, self.global_residual = width, modules, global_residual

        def level(inputs: int, outputs: int) -> nn.Sequential:
            sizes = [inputs] + [outputs] * (modules - 1)
            return nn.Sequential(*(AttentionModule(size, outputs, attention, squeeze) for size in sizes))

        self.conv1, self.a1 = _conv(3, width), level(width, width)
        self.conv2, self.a2 = _conv(width, 2 * width, stride=2), level(2 * width, 2 * width)
        self.conv3, self.a3 = _conv(2 * width, 4 * width, stride=2), level(4 * width, 4 * width)
        self.a4 = level(4 * width, 4 * width)
        self.conv4, self.a5 = _conv(4 * width, 2 * width), level(4 * width, 2 * width)
        self.conv5, self.a6 = _conv(2 * width, width), level(2 * width, width)
        self.conv6 = _conv(width, 3)
        self.strength = Strength(14 * width + 3) if strength else None
        self._initialise()
        self.halo = None if attention == "channel_spatial" else self._radius()
        # At conv5, maps of 4.5 times the width are alive; the rest is memory that the allocator holds for smaller maps.
        # 4 bytes, and a margin for the memory of convolutions: `restore benchmark what=[memory]`.
        self.bytes_per_pixel = math.ceil(4 * 1.15 * (7 * width + 8))
        self.to(memory_format=torch.channels_last)

    def _initialise(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        if self.global_residual:
            nn.init.zeros_(self.conv6.weight)

    def _radius(self) -> int:
        """Receptive radius in pixels: the farthest input pixel that any of 4x4 neighbouring outputs depends on."""
        deep = 4 * self.modules_per_level  # radius of the two convolutions of each module of a level, in its pixels
        farthest = 0
        for position in range(4):  # one pixel of the lowest resolution covers 4 pixels
            low, high = position - 2 - deep - 2, position + 2 + deep + 2  # conv6, a6, conv5
            low, high = _enlarged_from(low, high)
            low, high = low - deep - 2, high + deep + 2  # a5, conv4
            low, high = _enlarged_from(low, high)
            low, high = low - 2 * deep, high + 2 * deep  # a4, a3
            for _ in range(2):  # conv3, a2; conv2, a1
                low, high = 2 * low - 2 - deep, 2 * high + 2 + deep
            low, high = low - 2, high + 2  # conv1
            farthest = max(farthest, position - low, high - position)
        if self.strength is not None:  # the mean over positions so far away, and its enlargement
            farthest += 4 * (self.strength.WINDOW // 2 + 1) + 4
        return farthest

    def pool_locally(self, window: int) -> None:
        """Not supported; raises, even with channel attention, whose means are defined over the whole image."""
        if self.halo is None:
            reason = "attention=channel_spatial takes its means over the whole image only"
            raise ArgumentError("window", window, f"None, because {reason}")
        super().pool_locally(window)

    def forward(self, lq: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 3, H, W), not clamped; H and W multiples of 4."""
        return self._deblurred(lq.contiguous(memory_format=torch.channels_last))

    def traceable(self) -> Forward:
        """See the base class."""
        return self._deblurred

    def _deblurred(self, lq: Tensor) -> Tensor:
        pred, energies = self.residual(lq)
        if self.strength is not None:
            pred = pred * F.interpolate(self.strength(energies), scale_factor=self.multiple_of, mode="bilinear")
        return pred + lq if self.global_residual else pred

    def residual(self, lq: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W) -> conv6's output (N, 3, H, W), and the features' energies if there is a :class:`Strength`."""
        energies: list[Tensor] = []

        def note(x: Tensor, step: int) -> Tensor:
            if self.strength is not None:
                energies.append(self.strength.energy(x, step))
            return x

        skips = [note(self.a1(_relu(self.conv1(lq))), 4)]
        skips.append(note(self.a2(_relu(self.conv2(skips[-1]))), 2))
        x = note(self.a3(_relu(self.conv3(skips[-1]))), 1)
        x = note(self.a4(x), 1)
        x = _relu(self.conv4(_enlarge(x)))
        x = torch.cat([skips.pop(), x], 1)  # popped, so that a large image's map is freed here
        x = note(self.a5(x), 2)
        x = _relu(self.conv5(_enlarge(x)))
        x = torch.cat([skips.pop(), x], 1)
        for module in self.a6:  # self.a6(x) would keep its large input alive until the end
            x = module(x)
        return note(self.conv6(note(x, 4)), 4), energies


def _enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear")


def _enlarged_from(low: int, high: int) -> tuple[int, int]:
    """The pixels from which [low, high] are interpolated; each lies between two of them."""
    return math.floor((low - 0.5) / 2), math.floor((high - 0.5) / 2) + 1


def _check(width: int, modules: int, attention: str, squeeze: int) -> None:
    refuse_below_one(width=width, modules=modules)
    if attention not in ("spatial", "channel_spatial", "none"):
        raise ArgumentError("attention", attention, "spatial, channel_spatial or none")
    if squeeze < 1:
        raise ArgumentError("squeeze", squeeze, "at least 1 channel per hidden feature")
