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


class _Files(NamedTuple):
    """The decoded files of a pair; a file with a problem is missing from the others."""

    problems: list[str]
    decoded: list[Tensor]
    contents: dict[str, Path]
    kinds: list[str]
    digest: str  # over the pair's name and its files


class _CheckedPair(NamedTuple):
    """A pair, without its pixels."""

    problems: list[str]
    files: _Files
    is_sharper: bool
    size: tuple[int, int]


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
        checked = list(pool.map(lambda pair: _check(pair, scale, smallest, inspect), pairs))
    problems = [line for each in checked for line in each.problems]
    if problems:
        raise DataProblem(setting, problems)
    return Checked(
        hashlib.sha256("".join(each.files.digest for each in checked).encode()).hexdigest(),
        {digest: file for each in checked for digest, file in each.files.contents.items()},
        {_sample(each.files): pair for pair, each in zip(pairs, checked, strict=True)},
        [pair for pair, each in zip(pairs, checked, strict=True) if each.is_sharper],
        [each.size for each in checked],
        dict(Counter(kind for each in checked for kind in each.files.kinds)),
    )


def _check(pair: Pair, scale: int, smallest: SmallestSide | None, inspect: Inspect | None) -> _CheckedPair:
    files = _read_files(pair)
    problems, images = files.problems, []
    if not problems:
        images = pair.split(files.decoded)
        problems = _size_problems(pair, images, scale, smallest)
    if not problems and inspect is not None:
        problems = inspect(pair, images)
    is_sharper = not problems and pair.lq is not None and scale == 1 and sharpness(images[1]) >= sharpness(images[0])
    height, width = images[0].shape[1:] if images else (0, 0)
    return _CheckedPair(problems, files._replace(decoded=[]), is_sharper, (height, width))


def _read_files(pair: Pair) -> _Files:
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
    return _Files(problems, decoded, contents, kinds, whole.hexdigest())


def _sample(files: _Files) -> str:
    return hashlib.sha256("".join(files.contents).encode()).hexdigest()


def _missing(file: Path, pair: Pair) -> str:
    there = [other for other in pair.files if other.is_file()]
    return f"{there[0]}: has no partner {file}" if there else f"{file}: no such file"


def _size_problems(pair: Pair, images: Sequence[Tensor], scale: int, smallest: SmallestSide | None) -> list[str]:
    problems = []
    height, width = images[0].shape[1:]
    if smallest is not None and min(height, width) < smallest.pixels:
        problems.append(
            f"{pair.gt}: {width}x{height} px, expected sides of at least {smallest.pixels} px ({smallest.reason})"
        )
    if len(images) == 2 and images[1].shape[1:] != (height // scale, width // scale):
        got = f"{images[1].shape[2]}x{images[1].shape[1]}"
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
