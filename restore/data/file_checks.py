"""Validates every file of a data set before a long job starts."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from restore.data.pair import DataProblem, Pair
from restore.data.side_by_side import wrong_shape
from restore.image import reading

# returns further problems of a valid pair, given its decoded images, gt first, each uint8 (3, H, W)
Inspect = Callable[[Pair, Sequence[Tensor]], list[str]]


class SmallestSide(NamedTuple):
    """The minimum side of a gt image in pixels, and what requires it."""

    pixels: int
    reason: str


def smallest_scored(crop_border: int = 0) -> SmallestSide:
    """The minimum side of a whole image for SSIM, whose window has 11 pixels, after the border is cropped."""
    reason = "crop_border leaves less than SSIM's window of a smaller one" if crop_border else "SSIM's window"
    return SmallestSide(11 + 2 * crop_border, reason)


class Checked(NamedTuple):
    """Facts about the files of a set.

    Attributes:
        fingerprint: SHA-256 over names and contents.
        contents: files by the SHA-256 of their content.
        samples: pairs by the SHA-256 over the contents of both files.
        sharper: pairs of equal size whose lq is at least as sharp as gt.
        sizes: height and width of each pair's gt.
        kinds: number of files of each kind, for example ``grey, 8 bit``.
    """

    fingerprint: str
    contents: dict[str, Path]
    samples: dict[str, Pair]
    sharper: list[Pair]
    sizes: list[tuple[int, int]]
    kinds: dict[str, int]


class CheckedPair(NamedTuple):
    """Facts about the files of a pair, without the pixels.

    Attributes:
        problems: one line each; if there are any, other attributes may be incomplete.
        contents, kinds: see :class:`Checked`.
        digest: SHA-256 over the pair's name and its files.
        sizes: height and width of its images, gt first.
        is_sharper: lq has gt's size and is at least as sharp.
    """

    problems: list[str]
    contents: dict[str, Path]
    kinds: list[str]
    digest: str
    sizes: list[tuple[int, int]]
    is_sharper: bool


def check_pairs(
    pairs: Sequence[Pair],
    scale: int,
    *,
    smallest: SmallestSide | None = None,
    inspect: Inspect | None = None,
    setting: str,
) -> Checked:
    """Read and decode every file once, and report all problems together.

    Args:
        scale: gt side / lq side.
        smallest: minimum side of gt; None for any size.
        inspect: called in several threads, for each pair without a problem so far.
        setting: name of the setting, for the error.

    Raises:
        DataProblem: one line for each unreadable file and each wrong size.
    """
    with ThreadPoolExecutor() as pool:  # decoding releases the GIL
        checked = list(pool.map(lambda pair: check_pair(pair, scale, smallest, inspect), pairs))
    return of_set(pairs, checked, setting=setting)


def of_set(pairs: Sequence[Pair], checked: Sequence[CheckedPair], *, setting: str) -> Checked:
    """Combine the checks of a set's pairs.

    Raises:
        DataProblem: lists the problems of all pairs.
    """
    problems = [line for each in checked for line in each.problems]
    if problems:
        raise DataProblem(setting, problems)
    return Checked(
        hashlib.sha256("".join(each.digest for each in checked).encode()).hexdigest(),
        {digest: file for each in checked for digest, file in each.contents.items()},
        {_sample(each): pair for pair, each in zip(pairs, checked, strict=True)},
        [pair for pair, each in zip(pairs, checked, strict=True) if each.is_sharper],
        [each.sizes[0] for each in checked],
        dict(Counter(kind for each in checked for kind in each.kinds)),
    )


def check_pair(pair: Pair, scale: int, smallest: SmallestSide | None, inspect: Inspect | None) -> CheckedPair:
    """Read and decode the files of a pair; for the arguments see :func:`check_pairs`."""
    problems, decoded, contents, kinds = list[str](), list[Tensor](), dict[str, Path](), list[str]()
    whole = hashlib.sha256(pair.name.encode())
    for file in pair.files:
        if not file.is_file():
            problems.append(_missing(file, pair))
            continue
        try:
            data = reading.content_of(file)
            image = reading.read(file, data=data)
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        whole.update(data)
        contents[hashlib.sha256(data).hexdigest()] = file
        decoded.append(image.rgb8())
        problems += wrong_shape(pair, decoded[-1])
        kinds.append(image.kind)
    images = [] if problems else pair.split(decoded)
    sizes = [(each.shape[1], each.shape[2]) for each in images]
    problems += [] if problems else size_problems(pair, sizes, scale, smallest)
    if not problems and inspect is not None:
        problems += inspect(pair, images)
    is_sharper = not problems and pair.lq is not None and scale == 1 and sharpness(images[1]) >= sharpness(images[0])
    return CheckedPair(problems, contents, kinds, whole.hexdigest(), sizes, is_sharper)


def _sample(checked: CheckedPair) -> str:
    return hashlib.sha256("".join(checked.contents).encode()).hexdigest()


def _missing(file: Path, pair: Pair) -> str:
    there = [other for other in pair.files if other.is_file()]
    return f"{there[0]}: has no partner {file}" if there else f"{file}: no such file"


def size_problems(pair: Pair, sizes: Sequence[tuple[int, int]], scale: int, smallest: SmallestSide | None) -> list[str]:
    """One line for each wrong size; ``sizes`` are (height, width), gt first."""
    problems = []
    height, width = sizes[0]
    if smallest is not None and min(height, width) < smallest.pixels:
        problems.append(
            f"{pair.gt}: {width}x{height} px, expected sides of at least {smallest.pixels} px ({smallest.reason})"
        )
    if len(sizes) == 2 and sizes[1] != (height // scale, width // scale):
        got = f"{sizes[1][1]}x{sizes[1][0]}"
        expected = f"{width // scale}x{height // scale}"
        ratio = f"which is {pair.gt.name} divided by scale={scale}" if scale > 1 else f"as its partner {pair.gt}"
        problems.append(f"{pair.lq}: {got} px, expected {expected} px, {ratio}")
    return problems


def sharpness(pixels: Tensor) -> float:
    """Mean absolute difference between neighbouring pixels of the grey image; ``nan`` if a side has one pixel.

    Args:
        pixels: uint8, (3, H, W).
    """
    grey = pixels.float().mean(0)
    return float(grey.diff(dim=0).abs().mean() + grey.diff(dim=1).abs().mean())


def refuse_shared(sets: Mapping[str, Mapping[str, Path]], relation: str) -> None:
    """Refuse content that occurs in two sets.

    Args:
        sets: for each set name, a file by the SHA-256 of its content.
        relation: words between the two file names in the message.

    Raises:
        DataProblem: lists everything in a set that is also in an earlier set.
    """
    first: dict[str, tuple[str, Path]] = {}
    problems = []
    for name, contents in sets.items():
        for digest, file in contents.items():
            other, twin = first.setdefault(digest, (name, file))
            if other != name:
                problems.append(f"{file} ({name}): {relation} {twin} ({other})")
    if problems:
        raise DataProblem("data", problems)
