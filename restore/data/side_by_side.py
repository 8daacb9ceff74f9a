"""Recognises files that are not the two images of a pair side by side, as a folder of single images is read."""

from collections.abc import Sequence

from torch import Tensor

from restore.data.pair import Pair
from restore.image import reading

INSPECTED = 10  # files whose halves are compared


def wrong_shape(pair: Pair, pixels: Tensor) -> list[str]:
    """One line if a file of two images side by side has a shape that two images of one size rarely or never have.

    Halves at least twice as high as wide are refused: square single images are more likely than such pairs.

    Args:
        pixels: of the whole file, (C, H, W).
    """
    height, width = pixels.shape[1:]
    if pair.lq_half is None or (width % 2 == 0 and width > height):
        return []
    return [
        f"{pair.gt}: {width}x{height} px, expected two images side by side (an even width, greater than the height), "
        "or the images of a pair in two folders, A and B (data.folder_a, data.folder_b)"
    ]


def single_images(pairs: Sequence[Pair]) -> str | None:
    """A warning if most of the first files look like single images, whose two halves continue each other."""
    halves = [pair.gt for pair in pairs if pair.lq_half is not None][:INSPECTED]
    single = [file for file in halves if is_one_image(reading.read_rgb8(file))]
    if len(single) <= len(halves) / 2:
        return None
    return (
        f"{single[0]} and others are read as two images side by side, but their halves continue each other; single "
        "images need partners of the same names in a second folder (data.folder_a, data.folder_b)"
    )


def is_one_image(pixels: Tensor) -> bool:
    """Whether the halves of uint8 (3, H, W) differ at their border no more than neighbouring columns elsewhere."""
    steps = pixels.float().diff(dim=2).abs().mean((0, 1))
    return bool(steps[pixels.shape[2] // 2 - 1] < 2 * steps.mean())
