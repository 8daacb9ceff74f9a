"""The image files of a folder, in order; does not import torch."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from restore.data.pair import DataProblem
from restore.image.formats import OTHER_SUFFIXES, READ_SUFFIXES


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name, without hidden files."""
    named = (p for p in folder.iterdir() if p.suffix.lower() in READ_SUFFIXES and not p.name.startswith("."))
    return sorted(p for p in named if not p.is_dir())


def passed_over(files: Iterable[Path]) -> str:
    """Counts images in formats that cannot be read, by suffix; empty if there are none.

    >>> passed_over([Path("a.jxl"), Path("b.JXL"), Path("c.gif"), Path("d.png"), Path("e.txt")])
    '2 .jxl, 1 .gif'
    """
    unread = set(OTHER_SUFFIXES) - set(READ_SUFFIXES)
    counts = Counter(each.suffix.lower() for each in files if each.suffix.lower() in unread)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())


def by_number(name: str) -> tuple[list[str | int], str]:
    """Sort key for names of frames, by the numbers in them: 2 before 10, and 02 before 2."""
    parts = re.split(r"([0-9]+)", name)  # every second part is a number
    return [int(part) if k % 2 else part for k, part in enumerate(parts)], name


def refuse_same_stem(files: Sequence[Path], setting: str) -> None:
    """Raise DataProblem if two files differ only in their suffix, because partners and results are found by stem."""
    first: dict[str, Path] = {}
    twice = [f"{f}: has the name of {first[f.stem].name}" for f in files if first.setdefault(f.stem, f) != f]
    if twice:
        raise DataProblem(setting, twice)
