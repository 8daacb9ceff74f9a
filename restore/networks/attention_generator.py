"""Channel weights computed from features: the attention in the groups of :mod:`restore.networks.information_gain`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.ops import row_bands


class HalvingMaxPool(nn.MaxPool2d):
    """Maximum over 2x2 with sides rounded up, so that a map 1 px wide stays 1 px wide."""

    def __init__(self) -> None:
        super().__init__(2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2))."""
        side: object = x.shape[-1]
        if not isinstance(side, torch.SymInt):
            pooled: Tensor = super().forward(x)
            return pooled
        # for a graph of any size: torch would trace rounding up for even or for odd sides, not for both
        for dim in (2, 3):
            index = torch.arange((x.shape[dim] + 1) // 2 * 2, device=x.device).clamp(max=x.shape[dim] - 1)
            x = x.index_select(dim, index)  # repeats the last row of an odd side, which does not change the maxima
        return F.max_pool2d(x, 2)


class AttentionGenerator(nn.Module):
    """One weight in (0, 1) per channel, from features whose resolution falls from stage to stage.

    conv - pool - conv - global pool - fully connected - squash, as in the published method.

    Attributes:
        window: None pools over the whole map; a number of pixels pools over a window around each position instead, so
            that a large image is averaged over as many pixels as a training crop has (Chu et al., "Improving Image
            Restoration by Revisiting Global Information Aggregation", ECCV 2022).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.window: int | None = None
        self.stages = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False),
            nn.PReLU(),
            HalvingMaxPool(),
            nn.Conv2d(channels // 2, channels // 4, 3, padding=1, bias=False),
            nn.PReLU(),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squash = nn.Linear(channels // 4, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1), or (N, C, H, W) when pooled around each position."""
        return self._weight(self.stages(x), x)

    def in_bands(self, current: Tensor, original: Tensor | None) -> Tensor:
        """Like :meth:`forward` of ``current``, minus ``original`` if given, without a full-size map of the difference.

        Args:
            current, original: (1, C, H, W), for which :func:`restore.ops.row_bands.pays_for` holds.
        """
        conv, squash, pool, *rest = self.stages
        assert isinstance(conv, nn.Conv2d)
        halved = []
        for top, bottom in row_bands.bands(current, "attention"):
            seen = slice(max(0, top - 1), bottom + 1)  # the rows within the receptive field of the convolution
            x = current[..., seen, :] if original is None else current[..., seen, :] - original[..., seen, :]
            x = row_bands.convolved(conv, x, top - seen.start, bottom - seen.start)
            halved.append(pool(squash(x)))
        maps = torch.cat(halved, 2)
        for stage in rest:
            maps = stage(maps)
        return self._weight(maps, current)

    def _weight(self, seen: Tensor, x: Tensor) -> Tensor:
        """The weight, from the output of the stages for ``x``."""
        if self.window is None:
            weight = torch.sigmoid(self.squash(self.pool(seen).flatten(1)))
            return weight[:, :, None, None]
        local = local_mean(seen, self.window // 2)  # // 2: after the max-pool
        weight = torch.sigmoid(self.squash(local.movedim(1, -1)).movedim(-1, 1))
        return F.interpolate(weight, scale_factor=2, mode="nearest")[..., : x.shape[-2], : x.shape[-1]]


def local_mean(maps: Tensor, window: int) -> Tensor:
    """Mean over a square window around each position, moved inwards at the borders; the shape (N, C, H, W) is kept."""
    height, width = maps.shape[-2:]
    tall, wide = min(window, height), min(window, width)
    means = F.avg_pool2d(F.avg_pool2d(maps, (tall, 1), stride=1), (1, wide), stride=1)
    left, top = (wide - 1) // 2, (tall - 1) // 2
    return F.pad(means, (left, wide - 1 - left, top, tall - 1 - top), mode="replicate")
