"""Finds the picture pairs of a super-resolution data set folder.

Those of deblurring are found by :mod:`restore.data.blur_sharp_folders`, those of translation by
:mod:`restore.data.ab_folders`.

Folder layouts of super-resolution data::

    <set>/HR/*.png                  with, or without, <set>/LR_bicubic/X2/<same name, or namex2>.png
    <...>_HR/*.png                  with, or without, <..._LR_bicubic>/X2/...          (DIV2K, Flickr2K)
    <root>/*_train_HR, *_valid_HR   both parts of such a set under one root
    <folder>/*.png                  sharp pictures only; lq is made by the bicubic shrink
    photos_train, photos_held_out   embedded pictures (:mod:`restore.data.photos`)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from restore.data.photos import EMBEDDED, embedded
from restore.image import reading
from restore.image.formats import SUFFIXES
from restore.io.names import encodable, printable

SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class Pair:
    """A sharp picture and, where it was prepared, its degraded one.

    Attributes:
        name: file stem of the sharp picture, after its sequence's folder and a slash where there is one; bytes that are
            no UTF-8 escaped, for it goes into tables, reports and the names of what is made of it.
        gt, lq: files; ``lq`` is None when it is to be made from ``gt``.
        sequence: frames of one are near-duplicates; None for a picture that stands alone.
        lq_half: where one file holds both pictures side by side, which half of it is lq; then ``lq`` is ``gt``.
    """

    name: str
    gt: Path
    lq: Path | None = None
    sequence: str | None = None
    lq_half: Literal["left", "right"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable(self.name))

    @property
    def files(self) -> list[Path]:
        """The one or two files."""
        return [self.gt] if self.lq is None or self.lq_half is not None else [self.gt, self.lq]

    def apart(self, pixels: Sequence[Tensor]) -> list[Tensor]:
        """The pictures in these decoded files, gt first, (C, H, W) each; an odd middle column is left out."""
        if self.lq_half is None:
            return list(pixels)
        width = pixels[0].shape[2] // 2
        left, right = pixels[0][..., :width], pixels[0][..., pixels[0].shape[2] - width :]
        return [right, left] if self.lq_half == "left" else [left, right]


class DataProblem(ValueError):
    """Something is wrong with the files of a data set; the message lists all of it."""

    def __init__(self, setting: str, problems: Sequence[str]) -> None:
        problems = self.problems = [encodable(each) for each in problems]
        more = len(problems) - SHOWN_PROBLEMS
        listed = "\n  ".join([*problems[:SHOWN_PROBLEMS], *([f"... and {more} more"] if more > 0 else [])])
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{setting}: {count} with the data; mend or remove the files:\n  {listed}")


def picture_files(folder: Path) -> list[Path]:
    """The picture files of a folder, sorted by name; hidden ones are left out."""
    named = (p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    return sorted(p for p in named if not p.is_dir())


def by_number(name: str) -> tuple[list[str | int], str]:
    """The key that sorts names of frames by the numbers in them: 2 before 10, and 02 before 2."""
    parts = re.split(r"([0-9]+)", name)  # every second part is a number
    return [int(part) if k % 2 else part for k, part in enumerate(parts)], name


def set_name(root: str) -> str:
    """What a set is called in logs and tables: the folder's name."""
    return printable(Path(root).resolve().name) if root not in EMBEDDED else root


def find_pairs(root: str, scale: int, *, setting: str = "data.root") -> list[Pair]:
    """The pairs under ``root``, sorted by name.

    Args:
        setting: named in the errors.

    Raises:
        FileNotFoundError: no such folder.
        DataProblem: no picture in it, or two of one name. A missing partner is left to ``check_pairs``.
    """
    if root in EMBEDDED:
        return [Pair(file.stem, file) for file in embedded(root)]
    sharp, prepared = _folders(Path(root), scale, setting)
    files = picture_files(sharp)
    if not files:
        raise DataProblem(setting, [f"{sharp} holds no picture ({', '.join(SUFFIXES)})"])
    refuse_one_name(files, setting)
    if prepared is None:
        return [Pair(file.stem, file) for file in files]
    small = picture_files(prepared)
    refuse_one_name(small, setting)
    partners = {file.stem: file for file in small}
    return [
        Pair(f.stem, f, partners.get(f.stem) or partners.get(f"{f.stem}x{scale}") or prepared / f.name) for f in files
    ]


def refuse_one_name(files: Sequence[Path], setting: str) -> None:
    """Raise DataProblem where two files of a folder differ in their suffix alone; partners and results go by stem."""
    first: dict[str, Path] = {}
    twice = [f"{f}: has the name of {first[f.stem].name}" for f in files if first.setdefault(f.stem, f) != f]
    if twice:
        raise DataProblem(setting, twice)


def _folders(root: Path, scale: int, setting: str) -> tuple[Path, Path | None]:
    """The folder of sharp pictures and the one of prepared small ones, if there is one."""
    if not root.is_dir():
        remedy = f"set {setting} to a folder of pictures, or to one of {', '.join(EMBEDDED)}"
        raise FileNotFoundError(f"{setting}: {root} is not a folder; {remedy}")
    parts = sorted(root.glob("*_train_HR"))
    if parts:
        root = parts[0]
    if (root / "HR").is_dir():
        sharp, prepared = root / "HR", root / "LR_bicubic" / f"X{scale}"
    elif root.name.endswith("_HR"):
        sharp, prepared = root, root.with_name(root.name.removesuffix("_HR") + "_LR_bicubic") / f"X{scale}"
    else:
        return root, None
    return sharp, prepared if prepared.is_dir() else None


class Pictures:
    """Reads pictures as uint8 (3, H, W) and keeps the decoded ones while they fit into memory.

    Filled before the loader's workers start, so they share one copy.

    Attributes:
        room, kept_bytes: bytes that are left, and taken.
    """

    def __init__(self, cache_gb: float = 0.0) -> None:
        self.room = int(cache_gb * 2**30)
        self.kept_bytes = 0
        self._kept: dict[Path, Tensor] = {}

    def read(self, path: Path) -> Tensor:
        """uint8, (3, H, W)."""
        kept = self._kept.get(path)
        return reading.read_rgb8(path) if kept is None else kept

    def keep(self, path: Path, pixels: Tensor) -> None:
        """Remember a decoded picture, uint8 (3, H, W), if there is room."""
        if path not in self._kept and pixels.nbytes <= self.room:
            self.room -= pixels.nbytes
            self.kept_bytes += pixels.nbytes
            self._kept[path] = pixels
