"""Looks at every file of a data set before a long job starts."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from restore.data.pairs import DataProblem, Pair, Pictures
from restore.image import reading


class Checked(NamedTuple):
    """What a look at every file of a set found.

    Attributes:
        fingerprint: SHA-256 over names and contents.
        contents: SHA-256 of each file, and the file.
        samples: SHA-256 of what a pair's files hold together, and the pair.
        sharper: pairs of equal sizes whose lq has the stronger edges, or the same.
        sizes: height and width of each pair's sharp picture.
        kinds: how many files there are of each kind, such as ``grey, 8 bit``.
    """

    fingerprint: str
    contents: dict[str, Path]
    samples: dict[str, Pair]
    sharper: list[Pair]
    sizes: list[tuple[int, int]]
    kinds: dict[str, int]


class _Look(NamedTuple):
    problems: list[str]
    digest: str
    contents: dict[str, Path]
    sample: str
    is_sharper: bool
    size: tuple[int, int]
    kinds: list[str]


def check_pairs(
    pairs: Sequence[Pair],
    scale: int,
    *,
    smallest_gt: int = 1,
    reason: str = "",
    pictures: Pictures | None = None,
    further: Callable[[Pair], list[str]] | None = None,
    setting: str,
) -> Checked:
    """Decode every file once and complain about all bad ones together.

    Args:
        smallest_gt, reason: the least side of a sharp picture, and what asks for it.
        pictures: filled with what was decoded.
        further: what else is wrong with a pair that has passed so far; may run in several threads.

    Raises:
        DataProblem: with one line for each unreadable file and each size that does not fit.
    """
    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter's lock
        looks = list(pool.map(lambda pair: _look(pair, scale, smallest_gt, reason, pictures, further), pairs))
    problems = [line for look in looks for line in look.problems]
    if problems:
        raise DataProblem(setting, problems)
    return Checked(
        hashlib.sha256("".join(look.digest for look in looks).encode()).hexdigest(),
        {digest: file for look in looks for digest, file in look.contents.items()},
        {look.sample: pair for pair, look in zip(pairs, looks, strict=True)},
        [pair for pair, look in zip(pairs, looks, strict=True) if look.is_sharper],
        [look.size for look in looks],
        dict(Counter(kind for look in looks for kind in look.kinds)),
    )


def _look(
    pair: Pair,
    scale: int,
    smallest_gt: int,
    reason: str,
    pictures: Pictures | None,
    further: Callable[[Pair], list[str]] | None,
) -> _Look:
    decoded: list[Tensor] = []
    contents: dict[str, Path] = {}
    problems: list[str] = []
    kinds: list[str] = []
    whole = hashlib.sha256(pair.name.encode())
    for file in pair.files:
        if not file.is_file():
            problems.append(_missing(file, pair))
            continue
        try:
            picture = reading.read(file)
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        pixels = picture.rgb8()
        kinds.append(picture.kind)
        if pictures is not None:
            pictures.keep(file, pixels)
        data = file.read_bytes()
        whole.update(data)
        contents[hashlib.sha256(data).hexdigest()] = file
        decoded.append(pixels)
    if not problems:
        decoded = pair.apart(decoded)
        problems = _size_problems(pair, decoded, scale, smallest_gt, reason)
    if not problems and further is not None:
        problems = further(pair)
    is_sharper = not problems and pair.lq is not None and scale == 1 and sharpness(decoded[1]) >= sharpness(decoded[0])
    sample = hashlib.sha256("".join(contents).encode()).hexdigest()
    height, width = decoded[0].shape[1:] if decoded else (0, 0)
    return _Look(problems, whole.hexdigest(), contents, sample, is_sharper, (height, width), kinds)


def _missing(file: Path, pair: Pair) -> str:
    there = [other for other in pair.files if other.is_file()]
    return f"{there[0]}: has no partner {file}" if there else f"{file}: no such file"


def _size_problems(pair: Pair, decoded: Sequence[Tensor], scale: int, smallest_gt: int, reason: str) -> list[str]:
    problems = []
    height, width = decoded[0].shape[1:]
    if min(height, width) < smallest_gt:
        problems.append(f"{pair.gt}: {width}x{height} px, expected sides of at least {smallest_gt} px ({reason})")
    if len(decoded) == 2 and decoded[1].shape[1:] != (height // scale, width // scale):
        got = f"{decoded[1].shape[2]}x{decoded[1].shape[1]}"
        expected = f"{width // scale}x{height // scale}"
        ratio = f"which is {pair.gt.name} divided by scale={scale}" if scale > 1 else f"as its partner {pair.gt}"
        problems.append(f"{pair.lq}: {got} px, expected {expected} px, {ratio}")
    return problems


def sharpness(pixels: Tensor) -> float:
    """Mean absolute difference between neighbours of the grey picture; ``nan`` where a side has one pixel.

    Args:
        pixels: uint8, (3, H, W).
    """
    grey = pixels.float().mean(0)
    return float(grey.diff(dim=0).abs().mean() + grey.diff(dim=1).abs().mean())


def refuse_shared(sets: Mapping[str, Mapping[str, Path]], words: str) -> None:
    """Refuse what stands in two sets.

    Args:
        sets: what each set holds, by the set's name: SHA-256 of the contents, and the file that is named for it.
        words: between the two files of a problem.

    Raises:
        DataProblem: with everything of a set that is also in a set before it.
    """
    first: dict[str, tuple[str, Path]] = {}
    problems = []
    for name, held in sets.items():
        for digest, file in held.items():
            other, twin = first.setdefault(digest, (name, file))
            if other != name:
                problems.append(f"{file} ({name}): {words} {twin} ({other})")
    if problems:
        raise DataProblem("data", problems)
