"""An image pair of a data set, its decoded images, and the error that lists problems of its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from restore.io.errors import SettingError
from restore.io.files import encodable, printable, shortened
from restore.io.wording import counted

if TYPE_CHECKING:  # folders are listed without torch
    from torch import Tensor

SHOWN_PROBLEMS = 20
LONGEST_PART = 230  # bytes of a name, which leaves room for longer names derived from it


@dataclass(frozen=True)
class Pair:
    """A sharp image and, if it exists, its degraded version.

    Attributes:
        name: stem of the sharp image's file, preceded by ``<sequence>/`` for a frame; bytes that are not UTF-8 are
            escaped and long names shortened, because names appear in tables, reports and file names.
        gt, lq: files; ``lq`` is None if it is made from ``gt``.
        sequence: folder name of a sequence, whose frames are near-duplicates; None for a single image.
        lq_half: for two images side by side in one file, the half that is lq; then ``lq`` is the same file as ``gt``.
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
        """The pair's one or two files."""
        return [self.gt] if self.lq is None or self.lq_half is not None else [self.gt, self.lq]

    def split(self, pixels: "Sequence[Tensor]") -> "list[Tensor]":
        """Split the decoded files into images, gt first, each (C, H, W); of two side by side the width is even."""
        if self.lq_half is None:
            return list(pixels)
        width = pixels[0].shape[2] // 2
        left, right = pixels[0][..., :width], pixels[0][..., width:]
        return [right, left] if self.lq_half == "left" else [left, right]


@dataclass(frozen=True)
class DecodedPair:
    """A pair at the size from which crops are cut.

    Attributes:
        gt: uint8, (3, H, W).
        lq: uint8, (3, h, w) colours or (1, h, w) classes; None if it is made anew for each sample.
        degradation: description of how lq was made.
    """

    gt: "Tensor"
    lq: "Tensor | None"
    degradation: str

    @property
    def nbytes(self) -> int:
        """Bytes of both images."""
        return self.gt.nbytes + (0 if self.lq is None else self.lq.nbytes)


class DataProblem(SettingError):
    """The files of a data set have problems; the message lists them.

    Args:
        setting: key of the data set's setting. problems: one line each, with the file.
    """

    def __init__(self, setting: str, problems: Sequence[str]) -> None:
        self.problems = [encodable(each) for each in problems]
        super().__init__(
            setting,
            f"{counted(len(problems), 'problem')} with the data",
            "files without problems",
            "fix or remove the files",
        )
        self.args = setting, problems  # arguments with which unpickling in another process calls the class

    def __str__(self) -> str:
        more = len(self.problems) - SHOWN_PROBLEMS
        shown = [*self.problems[:SHOWN_PROBLEMS], *([f"... and {more} more"] if more > 0 else [])]
        return "\n  ".join([f"{self.key}: {self.got}; {self.remedy}:", *shown])
