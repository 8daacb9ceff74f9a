"""Run a network over an image of any size: pad, cut into tiles, blend, average over flips and turns.

All functions take ``forward``: float (N, C, h, w) -> (N, C', scale h, scale w), and images of shape (N, C, H, W).
Sizes are lq pixels. ``tile`` is the inner part that is kept, ``halo`` the context around it that is thrown away
(exact for a network whose receptive radius is at most ``halo``) or blended with the neighbours.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Forward = Callable[[Tensor], Tensor]


def round_up(value: int, multiple_of: int) -> int:
    """The smallest multiple at or above ``value``."""
    return -(-value // multiple_of) * multiple_of


def pad(image: Tensor, *, multiple_of: int = 1, min_size: int = 1) -> Tensor:
    """Grow (N, C, H, W) at the bottom and right to a size the network takes.

    Reflected as far as there are pixels to reflect, the rest repeats the last row or column.
    """
    height, width = image.shape[-2:]
    bottom = round_up(max(height, min_size), multiple_of) - height
    right = round_up(max(width, min_size), multiple_of) - width
    mirrored_bottom, mirrored_right = min(bottom, height - 1), min(right, width - 1)
    if mirrored_bottom or mirrored_right:
        image = F.pad(image, (0, mirrored_right, 0, mirrored_bottom), mode="reflect")
    if bottom > mirrored_bottom or right > mirrored_right:
        image = F.pad(image, (0, right - mirrored_right, 0, bottom - mirrored_bottom), mode="replicate")
    return image


class Piece(NamedTuple):
    """One tile along one axis: the network sees ``[start, stop)``; ``weight`` says how much each position counts."""

    start: int
    stop: int
    weight: Tensor  # float32, ((stop - start) * scale,); over all pieces every position sums to 1


def pieces(length: int, *, tile: int, halo: int, scale: int, blend: bool) -> list[Piece]:
    """Cut one axis into tiles.

    Args:
        length: of the axis. tile, halo: see the module's text; tiles start at multiples of ``tile``.
        scale: of the network; weights are per output pixel.
        blend: ramp across the whole overlap instead of a hard edge in its middle.
    """
    found = []
    total = torch.zeros(length * scale)
    for core in range(0, length, tile):
        core_end = min(core + tile, length)
        start, stop = max(core - halo, 0), min(core_end + halo, length)
        position = (torch.arange(start * scale, stop * scale) + 0.5) / scale
        if blend:
            ramp = 2 * halo + 1
            left = (position - start) / ramp if start > 0 else torch.ones_like(position)
            right = (stop - position) / ramp if stop < length else torch.ones_like(position)
            weight = torch.minimum(left, right).clamp(max=1)
        else:
            weight = ((position >= core) & (position < core_end)).float()
        total[start * scale : stop * scale] += weight
        found.append(Piece(start, stop, weight))
    return [Piece(p.start, p.stop, p.weight / total[p.start * scale : p.stop * scale]) for p in found]


def tiled(
    forward: Forward,
    image: Tensor,
    *,
    scale: int,
    tile: int,
    halo: int,
    multiple_of: int = 1,
    min_size: int = 1,
    blend: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Run ``forward`` tile by tile and put the pieces together.

    Args:
        tile: rounded up to ``multiple_of``, as is ``halo``, so that every tile starts on the network's own grid.
        progress: called as ``progress(tiles done, tiles in all)`` after each; it may raise to stop.

    Returns:
        float, (N, C', scale H, scale W), on the image's device.
    """
    height, width = image.shape[-2:]
    image = pad(image, multiple_of=multiple_of, min_size=min_size)
    tile, halo = round_up(tile, multiple_of), round_up(halo, multiple_of)
    rows = pieces(image.shape[-2], tile=tile, halo=halo, scale=scale, blend=blend)
    columns = pieces(image.shape[-1], tile=tile, halo=halo, scale=scale, blend=blend)
    merged: Tensor | None = None
    for k, (row, column) in enumerate((r, c) for r in rows for c in columns):
        piece = image[..., row.start : row.stop, column.start : column.stop]
        part = forward(pad(piece, multiple_of=multiple_of, min_size=min_size))
        part = part[..., : len(row.weight), : len(column.weight)]
        if merged is None:
            merged = part.new_zeros(*part.shape[:2], image.shape[-2] * scale, image.shape[-1] * scale)
        weight = row.weight.to(part)[:, None] * column.weight.to(part)
        top, left = row.start * scale, column.start * scale
        merged[..., top : top + len(row.weight), left : left + len(column.weight)] += part * weight
        if progress is not None:
            progress(k + 1, len(rows) * len(columns))
    assert merged is not None  # an image has at least one pixel, so there was at least one tile
    return merged[..., : height * scale, : width * scale]


def whole(forward: Forward, image: Tensor, *, scale: int, multiple_of: int = 1, min_size: int = 1) -> Tensor:
    """Run ``forward`` on the padded image at once and cut the padding off again."""
    height, width = image.shape[-2:]
    pred = forward(pad(image, multiple_of=multiple_of, min_size=min_size))
    return pred[..., : height * scale, : width * scale]


def largest_tile(
    size: tuple[int, int], *, bytes_per_pixel: int, memory_gb: float, halo: int, multiple_of: int = 1
) -> int | None:
    """The largest tile whose inference fits the budget, or None when the whole image does.

    Args:
        size: (height, width).
        bytes_per_pixel: what one lq pixel costs at the peak of an inference.
        memory_gb: the budget in GiB.

    Raises:
        ValueError: when not even the smallest tile fits, with the budget that would do.
    """
    budget = memory_gb * 2**30 / bytes_per_pixel
    if size[0] * size[1] <= budget:
        return None
    tile = (math.isqrt(int(budget)) - 2 * round_up(halo, multiple_of)) // multiple_of * multiple_of
    smallest = round_up(16, multiple_of)
    if tile < smallest:
        needed = (smallest + 2 * round_up(halo, multiple_of)) ** 2 * bytes_per_pixel / 2**30
        raise ValueError(
            f"memory_gb={memory_gb:g} holds no tile of {smallest} px with its context of {halo} px; "
            f"set memory_gb to at least {math.ceil(1000 * needed) / 1000:.3f}"
        )
    return tile


def self_ensemble(forward: Forward, image: Tensor, *, median: bool = False) -> Tensor:
    """Mean over the 8 flips and turns of a square (Timofte, Rothe, Van Gool, CVPR 2016, section 3.6), or the median.

    ``forward`` must not change its answer with the orientation of the scale, which holds for any network here. The
    median (of an even number: the mean of the two in the middle) keeps all 8 answers in memory.
    """
    preds = (_turned(forward, image, turns, flip=flip) for turns in range(4) for flip in (False, True))
    if median:
        ordered = torch.stack(list(preds)).sort(0).values
        return (ordered[3] + ordered[4]) / 2
    total = next(preds)
    for pred in preds:
        total = total + pred
    return total / 8


def _turned(forward: Forward, image: Tensor, turns: int, *, flip: bool) -> Tensor:
    view = torch.rot90(image, turns, (-2, -1))
    pred = forward(view.flip(-1) if flip else view)
    return torch.rot90(pred.flip(-1) if flip else pred, -turns, (-2, -1))
