"""Validates every file of a data set before a long job starts."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from restore.data.pair import DataProblem, Pair
from restore.image import reading

# further problems of a valid pair, from it and its decoded images, gt first, uint8 (3, H, W) each
Inspect = Callable[[Pair, Sequence[Tensor]], list[str]]


class SmallestSide(NamedTuple):
    """The shortest side that a gt image may have, in pixels, and what requires it."""

    pixels: int
    reason: str


def smallest_scored(crop_border: int = 0) -> SmallestSide:
    """The shortest side of a whole image that SSIM, with its window of 11 pixels, can score without its border."""
    reason = "crop_border leaves less than SSIM's window of a smaller one" if crop_border else "SSIM's window"
    return SmallestSide(11 + 2 * crop_border, reason)


class Checked(NamedTuple):
    """The contents of a set's files.

    Attributes:
        fingerprint: SHA-256 over names and contents.
        contents: SHA-256 of each file, and the file.
        samples: SHA-256 of the contents of a pair's files together, and the pair.
        sharper: pairs of equal sizes whose lq has edges as strong as gt, or stronger.
        sizes: height and width of each pair's gt.
        kinds: number of files of each kind, such as ``grey, 8 bit``.
    """

    fingerprint: str
    contents: dict[str, Path]
    samples: dict[str, Pair]
    sharper: list[Pair]
    sizes: list[tuple[int, int]]
    kinds: dict[str, int]


class CheckedPair(NamedTuple):
    """A pair's files, without their pixels.

    Attributes:
        problems: a line each; with one, some of the rest is missing.
        contents, kinds: of the files, see :class:`Checked`.
        digest: SHA-256 over the pair's name and its files.
        sizes: height and width of its images, gt first.
        is_sharper: lq has gt's size, and edges as strong as gt's or stronger.
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
    """Read and decode every file once, and report all bad ones together.

    Args:
        scale: gt side / lq side.
        smallest: of gt; None for any size.
        inspect: called for each pair without a problem so far, in several threads.
        setting: named in the error.

    Raises:
        DataProblem: with one line for each unreadable file and each size that does not fit.
    """
    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter's lock
        checked = list(pool.map(lambda pair: check_pair(pair, scale, smallest, inspect), pairs))
    return of_set(pairs, checked, setting=setting)


def of_set(pairs: Sequence[Pair], checked: Sequence[CheckedPair], *, setting: str) -> Checked:
    """What the pairs of a set are together.

    Raises:
        DataProblem: with the problems of all pairs.
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
    """Read and decode the files of a pair; the arguments are those of :func:`check_pairs`."""
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
    """A line for each size that does not fit; ``sizes`` are (height, width), gt first."""
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
    """Mean absolute difference between neighbours of the grey image; ``nan`` where a side has one pixel.

    Args:
        pixels: uint8, (3, H, W).
    """
    grey = pixels.float().mean(0)
    return float(grey.diff(dim=0).abs().mean() + grey.diff(dim=1).abs().mean())


def refuse_shared(sets: Mapping[str, Mapping[str, Path]], relation: str) -> None:
    """Refuse content that is in two sets.

    Args:
        sets: by name, the SHA-256 of each content, and the file that is named for it.
        relation: the words between the two files of a problem.

    Raises:
        DataProblem: with everything in a set that is also in a set before it.
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
