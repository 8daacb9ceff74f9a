"""Colours under full transparency: invisible, but every filter would mix them into visible pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor


def carry_colours(pixels: Tensor, alpha: Tensor | None) -> Tensor:
    """The same image with the colours of visible pixels extended into invisible ones.

    Programs store black there, or anything; when enlarged, that would be mixed into the edge of the visible part. The
    colours come from an image pyramid whose means count only visible pixels ("pull-push": Gortler, Grzeszczuk, Szeliski
    and Cohen, The Lumigraph, SIGGRAPH 1996, section 3.4).

    Args:
        pixels: uint8 or uint16, (C, H, W). alpha: same dtype, (1, H, W), or None.
    """
    if alpha is None:
        return pixels
    visible = alpha[0].to(torch.int32) > 0
    if bool(visible.all()) or not bool(visible.any()):
        return pixels
    planes = []
    for plane in pixels:
        levels = _spread(plane.to(torch.float32)[None, None], visible.to(torch.float32)[None, None])[0, 0]
        planes.append(levels.add_(0.5).to(torch.int32).to(pixels.dtype))  # visible levels are integers: unchanged
    return torch.stack(planes)


def _spread(values: Tensor, weights: Tensor) -> Tensor:
    """Values where weights are 1, elsewhere those of a coarser level; both (1, 1, H, W)."""
    if bool(weights.all()):
        return values
    share = F.avg_pool2d(weights, 2, ceil_mode=True)
    means = F.avg_pool2d(values * weights, 2, ceil_mode=True) / share.clamp(min=1e-6)
    coarse = _spread(means, (share > 0).to(torch.float32))
    around = F.interpolate(coarse, size=values.shape[-2:], mode="bilinear", align_corners=False)
    return torch.where(weights > 0, values, around)
