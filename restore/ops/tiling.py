"""Runs a network on images of any size: pad, cut into tiles, blend, average over flips and turns.

All functions take ``forward``: float (N, C, h, w) -> (N, C', scale h, scale w), and images of shape (N, C, H, W).
Sizes are lq pixels. ``tile`` is the inner part that is kept; ``halo`` is the context around it, which is discarded
(exact for a network whose receptive radius is at most ``halo``) or blended with the neighbours.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

Forward = Callable[[Tensor], Tensor]


def round_up(value: int, multiple_of: int) -> int:
    """The smallest multiple at or above ``value``."""
    return -(-value // multiple_of) * multiple_of


def pad(image: Tensor, *, multiple_of: int = 1, min_size: int = 1) -> Tensor:
    """Extend (N, C, H, W) at the bottom and right to a size that the network accepts, by :func:`padded_rows`.

    Args:
        image: float, or levels of 8 or 16 bits.
    """
    dtype = image.dtype
    image = image.view(torch.int16) if dtype == torch.uint16 else image  # torch cannot index uint16
    for dim in (2, 3):
        length = image.shape[dim]
        padded = round_up(max(length, min_size), multiple_of)
        if padded > length:
            rows = padded_rows(length, padded)[length:].to(image.device)
            image = torch.cat([image, image[:, :, rows] if dim == 2 else image[..., rows]], dim)
    return image.view(dtype)


def padded_rows(length: int, padded_length: int) -> Tensor:
    """Indices that extend an axis: all rows, then reflected ones until none are left, then the first row repeated.

    >>> padded_rows(3, 8).tolist()
    [0, 1, 2, 1, 0, 0, 0, 0]
    """
    last = length - 1
    return (last - (torch.arange(padded_length) - last).abs()).clamp(min=0)


class Piece(NamedTuple):
    """One tile along one axis: its input is ``[start, stop)``; ``weight`` is the blending weight of each position."""

    start: int
    stop: int
    weight: Tensor  # float32, ((stop - start) * scale,); at each position, the weights of all pieces sum to 1


def pieces(length: int, *, tile: int, halo: int, scale: int, blend: bool) -> list[Piece]:
    """Cut one axis into tiles.

    Args:
        length: of the axis. tile, halo: see the module's docstring; tiles start at multiples of ``tile``.
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


def _as_it_is(piece: Tensor) -> Tensor:
    return piece


def bands(
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
    load: Forward = _as_it_is,
) -> Iterator[Tensor]:
    """Run ``forward`` tile by tile and yield the result in bands, so that only one row of tiles is in memory.

    Args:
        tile: rounded up to ``multiple_of``, like ``halo``, so that every tile starts on the network's grid.
        progress: called as ``progress(tiles done, total tiles)`` after each tile; may raise to stop.
        load: converts a piece for ``forward``, so that ``image`` may hold the levels of a file.

    Yields:
        float, (N, C', h, scale W), from top to bottom, scale H rows in total; on the device of ``forward``'s results.
    """
    height, width = image.shape[-2:]
    image = pad(image, multiple_of=multiple_of, min_size=min_size)
    tile, halo = round_up(tile, multiple_of), round_up(halo, multiple_of)
    rows = pieces(image.shape[-2], tile=tile, halo=halo, scale=scale, blend=blend)
    columns = pieces(image.shape[-1], tile=tile, halo=halo, scale=scale, blend=blend)
    rest: Tensor | None = None  # overlap of this band with the one above
    for r, row in enumerate(rows):
        band: Tensor | None = None
        for c, column in enumerate(columns):
            piece = load(image[..., row.start : row.stop, column.start : column.stop])
            part = forward(pad(piece, multiple_of=multiple_of, min_size=min_size))
            part = part[..., : len(row.weight), : len(column.weight)]
            if band is None:
                band = part.new_zeros(*part.shape[:2], len(row.weight), image.shape[-1] * scale)
                if rest is not None:
                    band[..., : rest.shape[-2], :] = rest
            weight = row.weight.to(part)[:, None] * column.weight.to(part)
            left = column.start * scale
            band[..., left : left + len(column.weight)].addcmul_(part, weight)
            if progress is not None:
                progress(r * len(columns) + c + 1, len(rows) * len(columns))
        assert band is not None  # every image has at least one pixel, so there was at least one tile
        below = rows[r + 1].start if r + 1 < len(rows) else height
        end = (below - row.start) * scale
        rest = band[..., max(0, end) :, :].clone()
        yield band[..., : max(0, min(end, (height - row.start) * scale)), : width * scale]


def tiled(forward: Forward, image: Tensor, *, scale: int, **settings: Any) -> Tensor:
    """The concatenated bands of :func:`bands`, which has the same arguments.

    Returns:
        float, (N, C', scale H, scale W), on the device of ``forward``'s results.
    """
    return joined(bands(forward, image, scale=scale, **settings), image.shape[-2] * scale)


def joined(parts: Iterable[Tensor], rows: int) -> Tensor:
    """Concatenate bands (..., h, W) from top to bottom into (..., rows, W), without a second copy in memory."""
    merged: Tensor | None = None
    top = 0
    for band in parts:
        if band.shape[-2] == rows:  # the only band
            merged = band
            continue
        if merged is None:
            merged = band.new_empty(*band.shape[:-2], rows, band.shape[-1])
        merged[..., top : top + band.shape[-2], :] = band
        top += band.shape[-2]
    assert merged is not None  # there is at least one band
    return merged


def by_rows(forward: Forward, image: Tensor, *, scale: int, rows: int, halo: int) -> Tensor:
    """Run ``forward`` on ``rows`` rows at a time; exact if its receptive radius is at most ``halo``."""
    height = image.shape[-2]
    if height <= rows:
        return forward(image)

    def parts() -> Iterator[Tensor]:
        for top in range(0, height, rows):
            start, end = max(0, top - halo), min(top + rows, height)
            yield forward(image[..., start : end + halo, :])[..., (top - start) * scale : (end - start) * scale, :]

    return joined(parts(), height * scale)


def whole(forward: Forward, image: Tensor, *, scale: float, multiple_of: int = 1, min_size: int = 1) -> Tensor:
    """Run ``forward`` on the whole padded image, and crop the result."""
    height, width = image.shape[-2:]
    padded = pad(image, multiple_of=multiple_of, min_size=min_size)
    pred = forward(padded)
    return pred if padded.shape == image.shape else pred[..., : round(height * scale), : round(width * scale)]


def largest_tile(
    size: tuple[int, int],
    *,
    bytes_per_pixel: int,
    memory_gb: float,
    halo: int,
    multiple_of: int = 1,
    reserved: int = 0,
) -> int | None:
    """The largest tile whose inference fits the budget, or None if the whole image fits.

    Args:
        size: (height, width).
        bytes_per_pixel: peak memory per lq pixel.
        memory_gb: the budget in GiB.
        reserved: bytes of the budget used by the image itself, in addition to its tiles.

    Raises:
        ValueError: not even the smallest tile fits; the error names a sufficient budget.
    """
    budget = memory_gb * 2**30 / bytes_per_pixel
    if size[0] * size[1] <= budget:
        return None
    budget = max(0.0, budget - reserved / bytes_per_pixel)
    tile = (math.isqrt(int(budget)) - 2 * round_up(halo, multiple_of)) // multiple_of * multiple_of
    smallest = round_up(16, multiple_of)
    if tile < smallest:
        needed = (smallest + 2 * round_up(halo, multiple_of)) ** 2 * bytes_per_pixel / 2**30 + reserved / 2**30
        raise ValueError(
            f"memory_gb={memory_gb:g} holds no tile of {smallest} px with its context of {halo} px; "
            f"set memory_gb to at least {math.ceil(1000 * needed) / 1000:.3f}"
        )
    return tile


def even_tile(size: tuple[int, int], tile: int, multiple_of: int = 1) -> int:
    """The smallest tile that gives no more tiles than ``tile`` for (height, width): equal tiles, and less memory.

    >>> even_tile((3000, 4000), 1700)
    1500
    """
    sides = (math.ceil(side / math.ceil(side / tile)) for side in size)
    return min(tile, round_up(max(sides), multiple_of))


def self_ensemble(forward: Forward, image: Tensor, *, median: bool = False, views: int = 8) -> Tensor:
    """Mean, or median, over the 8 flips and turns of a square (Timofte, Rothe, Van Gool, CVPR 2016, section 3.6).

    The scale must not depend on the orientation, which holds for all networks here. The median (for an even number,
    the mean of the middle two) keeps all results in memory.

    Args:
        views: 8; or, to save time, 4 (only turns) or 2 (the image and its half turn).
    """
    chosen = [(turns, flip) for turns in range(4) for flip in (False, True)][:: 8 // views]
    preds = (_turned(forward, image, turns, flip=flip) for turns, flip in chosen)
    if median:
        ordered = torch.stack(list(preds)).sort(0).values
        return (ordered[views // 2 - 1] + ordered[views // 2]) / 2
    total = next(preds)
    for pred in preds:
        total = total + pred
    return total / views


def _turned(forward: Forward, image: Tensor, turns: int, *, flip: bool) -> Tensor:
    view = torch.rot90(image, turns, (-2, -1))
    pred = forward(view.flip(-1) if flip else view)
    return torch.rot90(pred.flip(-1) if flip else pred, -turns, (-2, -1))
