"""Pictures that put restorations side by side; pure functions on float (3, H, W) images in [0, 1]."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def draw_panel(lq: Tensor, pred: Tensor, gt: Tensor, *, max_side: int, error_gain: float) -> Tensor:
    """Four pictures in a row: lq enlarged to gt's size, pred, gt, and the amplified absolute error.

    Args:
        lq: float, (3, h, w). pred: float, (3, H, W). gt: float, (3 or 1, H, W).
        max_side: a larger picture is cut to its middle, in gt pixels.
        error_gain: the absolute error is multiplied by this to be seen.

    Returns:
        float, (3, H', 4 W'), with sides of at most ``max_side`` and 4 ``max_side``.
    """
    height, width = gt.shape[1:]
    enlarged = F.interpolate(lq[None], size=(height, width), mode="nearest")[0]
    pred, gt = pred.clamp(0, 1), gt.expand(3, -1, -1)
    error = ((pred - gt).abs() * error_gain).clamp(max=1)
    top, left = max(0, (height - max_side) // 2), max(0, (width - max_side) // 2)
    parts = [part[:, top : top + max_side, left : left + max_side] for part in (enlarged, pred, gt, error)]
    return torch.cat(parts, dim=2)


def draw_sheet(pictures: Sequence[Tensor], *, side: int = 96, zoom: int = 3, gap: int = 4) -> Tensor:
    """The same small part of several pictures in a row, enlarged by repeating pixels, with white gaps.

    The part shown is where the first picture (the baseline) is farthest from the last (the reference).

    Args:
        pictures: float, (3, H, W) each.
        side: of the part, in pixels; smaller when the picture is.
        zoom, gap: in pixels of the result.

    Returns:
        float, (3, zoom side, n zoom side + (n - 1) gap).
    """
    height, width = pictures[0].shape[1:]
    window = (min(side, height), min(side, width))
    error = (pictures[0] - pictures[-1]).abs().mean(0)[None, None]
    means = F.avg_pool2d(error, window, stride=1)[0, 0]
    top, left = divmod(int(means.argmax()), means.shape[1])
    row: list[Tensor] = []
    for picture in pictures:
        part = picture[:, top : top + window[0], left : left + window[1]]
        part = part.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
        row += [part] if not row else [part.new_ones(3, part.shape[1], gap), part]
    return torch.cat(row, dim=2)
