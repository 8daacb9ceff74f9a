"""Draws restored images side by side; pure functions on float (3, H, W) images in [0, 1]."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def draw_panel(lq: Tensor, pred: Tensor, gt: Tensor, *, max_side: int, error_gain: float, zoom: int = 1) -> Tensor:
    """Four images in a row: lq enlarged to gt's size, pred, gt, and the amplified absolute error.

    Args:
        lq: float, (3, h, w). pred: float, (3, H, W). gt: float, (3 or 1, H, W).
        max_side: maximum side in gt pixels; larger images are cropped to their centre.
        error_gain: factor that makes the absolute error visible.
        zoom: above 1, a second row shows the region where pred differs most from gt, enlarged by this factor.

    Returns:
        float, (3, H', 4 W'), with H' and W' at most ``max_side``; the second row of a zoom nearly doubles H'.
    """
    height, width = gt.shape[1:]
    enlarged = F.interpolate(lq[None], size=(height, width), mode="nearest")[0]
    pred, gt = pred.clamp(0, 1), gt.expand(3, -1, -1)
    error = ((pred - gt).abs() * error_gain).clamp(max=1)
    whole = [enlarged, pred, gt, error]
    top, left = max(0, (height - max_side) // 2), max(0, (width - max_side) // 2)
    parts = [part[:, top : top + max_side, left : left + max_side] for part in whole]
    if zoom == 1:
        return torch.cat(parts, dim=2)
    window = (max(1, parts[0].shape[1] // zoom), max(1, parts[0].shape[2] // zoom))
    top, left = _worst_window(pred, gt, window)
    close = [_enlarged(part, top, left, window, zoom) for part in whole]
    below = F.pad(torch.cat(close, 2), (0, 4 * (parts[0].shape[2] - close[0].shape[2])), value=1.0)
    return torch.cat([torch.cat(parts, 2), below], 1)


Palette = Sequence[Sequence[int]]


def draw_levels(
    lq: Tensor, outputs: Sequence[Tensor | None], gt: Tensor, *, max_side: int, palette: Palette | None = None
) -> Tensor:
    """Draw the input, the outputs of all levels and the reference in a row.

    Args:
        lq: float, (C, H, W); if C is not 3, the channels are classes, shown in the colours of ``palette`` or in shades
            of grey.
        outputs: float, (3, H, W) each; None is shown as a grey area.
        gt: float, (3, H, W).
        max_side: larger images are cropped to their centre.
        palette: red, green and blue of each class, 0 to 255.

    Returns:
        float, (3, H', (2 + n) W'), with H' and W' at most ``max_side``.
    """
    height, width = gt.shape[1:]
    top, left = max(0, (height - max_side) // 2), max(0, (width - max_side) // 2)
    shown = lq if len(lq) == 3 else _coloured(lq, palette)
    empty = torch.full_like(gt, 0.5)
    row = [shown, *(empty if each is None else each.clamp(0, 1) for each in outputs), gt]
    return torch.cat([each[:, top : top + max_side, left : left + max_side] for each in row], 2)


def _coloured(lq: Tensor, palette: Palette | None) -> Tensor:
    """Draw one-hot classes, (C, H, W), as colours, (3, H, W), [0, 1]."""
    classes = lq.argmax(0)
    if palette is None:
        return (classes / (len(lq) - 1)).expand(3, -1, -1)
    return torch.tensor(palette, dtype=torch.float32)[classes].permute(2, 0, 1) / 255


def _worst_window(image: Tensor, reference: Tensor, window: tuple[int, int]) -> tuple[int, int]:
    """Top left corner of the window with the largest mean error."""
    error = (image - reference).abs().mean(0)[None, None]
    # separable: the mean over k x k values takes 2 k reads instead of k^2
    means = F.avg_pool2d(F.avg_pool2d(error, (window[0], 1), stride=1), (1, window[1]), stride=1)[0, 0]
    return divmod(int(means.argmax()), means.shape[1])


def _enlarged(image: Tensor, top: int, left: int, window: tuple[int, int], zoom: int) -> Tensor:
    part = image[:, top : top + window[0], left : left + window[1]]
    return part.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)


def draw_weights(lq: Tensor, weights: Tensor) -> Tensor:
    """An image next to the weights that a network gives to its positions, from black (smallest) to white (largest).

    Args:
        lq: float, (3, H, W).
        weights: float, (1, h, w), any range, at the resolution of the padded image or 1/2, 1/4 ... of it; enlarged by
            pixel repetition, and cropped.

    Returns:
        float, (3, H, 2 W).
    """
    height, width = lq.shape[1:]
    low, high = weights.min(), weights.max()
    stretched = (weights - low) / (high - low).clamp(min=1e-12)
    factor = 2 ** max(0, math.ceil(math.log2(max(height, width) / max(weights.shape[1:]))))
    large = stretched.repeat_interleave(factor, 1).repeat_interleave(factor, 2)[:, :height, :width]
    return torch.cat([lq, large.expand(3, -1, -1)], dim=2)


def draw_sheet(images: Sequence[Tensor], *, side: int = 96, zoom: int = 3, gap: int = 4) -> Tensor:
    """The same small region of several images in a row, enlarged by pixel repetition, with white gaps.

    It is the region where the first image (the baseline) differs most from the last one (the reference).

    Args:
        images: float, (3, H, W) each.
        side: side of the region in pixels, limited by the image.
        zoom: enlargement factor. gap: in pixels of the result.

    Returns:
        float, (3, zoom side, n zoom side + (n - 1) gap).
    """
    height, width = images[0].shape[1:]
    window = (min(side, height), min(side, width))
    top, left = _worst_window(images[0], images[-1], window)
    row: list[Tensor] = []
    for image in images:
        part = _enlarged(image, top, left, window, zoom)
        row += [part] if not row else [part.new_ones(3, part.shape[1], gap), part]
    return torch.cat(row, dim=2)
