"""An image pair of a data set, its decoded images, and the error that lists what is wrong with its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from restore.io.errors import SettingError
from restore.io.files import encodable, printable, shortened

if TYPE_CHECKING:  # a folder is looked at without torch
    from torch import Tensor

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


@dataclass(frozen=True)
class DecodedPair:
    """A pair at the size that crops are cut from.

    Attributes:
        gt: uint8, (3, H, W).
        lq: uint8, (3, h, w) colours or (1, h, w) classes; None where each sample makes its own.
        degradation: how lq was made, in words.
    """

    gt: "Tensor"
    lq: "Tensor | None"
    degradation: str

    @property
    def nbytes(self) -> int:
        """Of both images."""
        return self.gt.nbytes + (0 if self.lq is None else self.lq.nbytes)


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
