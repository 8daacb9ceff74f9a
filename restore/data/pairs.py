"""Finds the image pairs of a super-resolution data set folder.

Those of deblurring are found by :mod:`restore.data.blur_sharp_folders`, those of translation by
:mod:`restore.data.ab_folders`.

Folder layouts of super-resolution data::

    <set>/HR/*.png                  with, or without, <set>/LR_bicubic/X2/<same name, or namex2>.png; other spellings
                                    of it, such as lr_bicubic/x2 or LR_x2, are taken with a warning
    <...>_HR/*.png                  with, or without, <..._LR_bicubic>/X2/...          (DIV2K, Flickr2K)
    <root>/*_train_HR, *_valid_HR   both parts of such a set under one root
    <folder>/*.png                  sharp images only; lq is made by the bicubic shrink
    photos_train, photos_held_out   embedded images (:mod:`restore.data.photos`)
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from restore.data.bounds import refuse_missing_folder
from restore.data.photos import EMBEDDED, embedded
from restore.image.formats import OTHER_SUFFIXES, READ_SUFFIXES, SUFFIXES
from restore.io.errors import SettingError
from restore.io.files import encodable, printable, shortened

if TYPE_CHECKING:  # a folder is looked at without torch
    from torch import Tensor

log = logging.getLogger(__name__)

SHOWN_PROBLEMS = 20
LONGEST_PART = 230  # bytes of a name, so that the names of files that are made of it are possible


@dataclass(frozen=True)
class Pair:
    """A sharp image and, where it was prepared, its degraded one.

    Attributes:
        name: file stem of the sharp image, after its sequence's folder and a slash where there is one; bytes that are
            no UTF-8 are escaped and long ones shortened, because it goes into tables, reports and names of files.
        gt, lq: files; ``lq`` is None when it is made from ``gt``.
        sequence: frames of one are near-duplicates; None for a single image.
        lq_half: where one file holds both images side by side, which half of it is lq; then ``lq`` is ``gt``.
    """

    name: str
    gt: Path
    lq: Path | None = None
    sequence: str | None = None
    lq_half: Literal["left", "right"] | None = None

    def __post_init__(self) -> None:
        parts = (shortened(part, LONGEST_PART) for part in printable(self.name).split("/"))
        object.__setattr__(self, "name", "/".join(parts))

    @property
    def files(self) -> list[Path]:
        """The one or two files."""
        return [self.gt] if self.lq is None or self.lq_half is not None else [self.gt, self.lq]

    def split(self, pixels: "Sequence[Tensor]") -> "list[Tensor]":
        """The images in these decoded files, gt first, (C, H, W) each; an odd middle column is left out."""
        if self.lq_half is None:
            return list(pixels)
        width = pixels[0].shape[2] // 2
        left, right = pixels[0][..., :width], pixels[0][..., pixels[0].shape[2] - width :]
        return [right, left] if self.lq_half == "left" else [left, right]


class DataProblem(SettingError):
    """The files of a data set have problems; the message lists them.

    Args:
        setting: names the data set. problems: a line each, with the file.
    """

    def __init__(self, setting: str, problems: Sequence[str]) -> None:
        self.problems = [encodable(each) for each in problems]
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(setting, f"{count} with the data", "files without problems", "fix or remove the files")
        self.args = setting, problems  # what unpickling in another process calls it with

    def __str__(self) -> str:
        more = len(self.problems) - SHOWN_PROBLEMS
        shown = [*self.problems[:SHOWN_PROBLEMS], *([f"... and {more} more"] if more > 0 else [])]
        return "\n  ".join([f"{self.key}: {self.got}; {self.remedy}:", *shown])


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name; hidden ones are left out."""
    named = (p for p in folder.iterdir() if p.suffix.lower() in READ_SUFFIXES and not p.name.startswith("."))
    return sorted(p for p in named if not p.is_dir())


def passed_over(files: Iterable[Path]) -> str:
    """How many of these are images that are not read, by ending; empty where there are none.

    >>> passed_over([Path("a.jxl"), Path("b.JXL"), Path("c.gif"), Path("d.png"), Path("e.txt")])
    '2 .jxl, 1 .gif'
    """
    unread = set(OTHER_SUFFIXES) - set(READ_SUFFIXES)
    counts = Counter(each.suffix.lower() for each in files if each.suffix.lower() in unread)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())


def by_number(name: str) -> tuple[list[str | int], str]:
    """The key that sorts names of frames by the numbers in them: 2 before 10, and 02 before 2."""
    parts = re.split(r"([0-9]+)", name)  # every second part is a number
    return [int(part) if k % 2 else part for k, part in enumerate(parts)], name


def set_name(root: str) -> str:
    """The set's name in logs and tables: the folder's name."""
    return printable(Path(root).resolve().name) if root not in EMBEDDED else root


def find_pairs(root: str, scale: int, *, setting: str = "data.root") -> list[Pair]:
    """The pairs under ``root``, sorted by name.

    Args:
        setting: named in the errors.

    Raises:
        SettingError: no such folder.
        DataProblem: no image in it, or two of one name. A missing partner is left to ``check_pairs``.
    """
    if root in EMBEDDED:
        return [Pair(file.stem, file) for file in embedded(root)]
    sharp, prepared = _folders(Path(root), scale, setting)
    files = image_files(sharp)
    others = passed_over(sharp.iterdir())
    if others:
        log.warning("%s: skipped (unsupported format): %s; convert them to PNG", sharp, others)
    if not files:
        raise DataProblem(setting, [f"{sharp} holds no image ({', '.join(SUFFIXES)})"])
    refuse_same_stem(files, setting)
    if prepared is None:
        return [Pair(file.stem, file) for file in files]
    small = image_files(prepared)
    refuse_same_stem(small, setting)
    partners = {file.stem: file for file in small}
    return [
        Pair(f.stem, f, partners.get(f.stem) or partners.get(f"{f.stem}x{scale}") or prepared / f.name) for f in files
    ]


def refuse_same_stem(files: Sequence[Path], setting: str) -> None:
    """Raise DataProblem where two files of a folder differ in their suffix alone: partners and results go by stem."""
    first: dict[str, Path] = {}
    twice = [f"{f}: has the name of {first[f.stem].name}" for f in files if first.setdefault(f.stem, f) != f]
    if twice:
        raise DataProblem(setting, twice)


def _folders(root: Path, scale: int, setting: str) -> tuple[Path, Path | None]:
    """The folder of sharp images and the one of prepared small ones, if there is one."""
    refuse_missing_folder(str(root), setting)
    parts = sorted(root.glob("*_train_HR"))
    if parts:
        root = parts[0]
    inside = next((each for each in _subfolders(root) if each.name.lower() == "hr"), None)
    if inside is not None:
        return inside, _prepared(inside, scale)
    return root, _prepared(root, scale) if root.name == "HR" or root.name.endswith("_HR") else None


def _prepared(sharp: Path, scale: int) -> Path | None:
    """The prepared small images of a folder ``[<set>_]HR``: ``[<set>_]LR_bicubic/X<scale>``, or a likely misspelling.

    Where there is none, folders of images beside ``sharp`` are named in a warning: they may have been meant.
    """
    prefix = sharp.name[:-2]
    exact = sharp.with_name(f"{prefix}LR_bicubic") / f"X{scale}"
    if exact.is_dir():
        return exact
    beside = [each for each in _subfolders(sharp.parent) if each != sharp and each.name.startswith(prefix)]
    folders = [each for folder in beside for each in (folder, *_subfolders(folder)) if image_files(each)]
    spellings = [f"{name}x{scale}" for name in ("lrbicubic", "lrbic", "lr")]
    likely = [each for each in folders if _spelling(each, sharp.parent, prefix) in spellings]
    if len(likely) == 1:
        log.warning("%s is taken for %s, the prepared images of %s", likely[0], exact, sharp)
        return likely[0]
    if folders:
        names = ", ".join(str(each) for each in folders[:5]) + (", ..." if len(folders) > 5 else "")
        log.warning("%s has no %s, so the small images are made of it; not used: %s", sharp, exact, printable(names))
    return None


def _subfolders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _spelling(folder: Path, parent: Path, prefix: str) -> str:
    """Its place below ``parent`` without the set's name, signs and capitals: ``lrbicubicx2`` of ``LR-bicubic/x2``."""
    return re.sub(r"[^a-z0-9]", "", str(folder.relative_to(parent)).removeprefix(prefix).lower())
