"""Finds the picture pairs of translation data.

Folder layouts::

    <root>/{train,val,test}/{A,B}/*.png     a picture of A belongs to that of the same name in B
    <root>/{A,B}/{train,val,test}/*.png     the same, split inside
    <root>/{train,val,test}/*.jpg           both side by side in one file: A left, B right
    <root>/{train,val,test}/*.jpg           photos alone, where the other picture is made of them (contours)

``root`` may also be one of the split folders, or a folder without such a split. The two folders may have other names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from restore.data import blur_sharp_folders
from restore.data.pairs import DataProblem, Pair, picture_files, refuse_one_name
from restore.data.photos import EMBEDDED, embedded
from restore.image.formats import SUFFIXES

Direction = Literal["a_to_b", "b_to_a"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which picture of a pair is the input.

    Attributes:
        direction: ``a_to_b`` makes B (right, where they lie side by side) out of A (left), ``b_to_a`` A out of B.
        folder_a, folder_b: names of the two folders.
        is_made: a picture that stands alone is gt, and the input is made of it.
    """

    direction: Direction = "a_to_b"
    folder_a: str = "A"
    folder_b: str = "B"
    is_made: bool = False

    def __post_init__(self) -> None:
        if self.direction not in ("a_to_b", "b_to_a"):
            raise ValueError(f"data.direction is {self.direction}, expected a_to_b or b_to_a")
        if not self.folder_a or not self.folder_b or self.folder_a == self.folder_b:
            raise ValueError(
                f"data.folder_a is {self.folder_a!r} and data.folder_b is {self.folder_b!r}, expected two folder names"
            )

    def find(self, root: str, splits: Sequence[str], *, setting: str) -> tuple[str, list[Pair]]:
        """A set's name and its pairs, sorted by name.

        Args:
            root: a folder, or an embedded set of photos.
            splits: the parts to look for, in this order; without one of them ``root`` itself is the set.
            setting: named in the errors.

        Raises:
            FileNotFoundError: no such folder.
            DataProblem: no picture in it, or two of one name. A missing partner is left to ``check_pairs``.
        """
        if root in EMBEDDED:
            if not self.is_made:
                raise ValueError(
                    f"{setting} is {root}, photos without partners; name a folder of pairs, for example "
                    f"{setting}=[my_pairs], or choose data=contours where the inputs are contours found by Canny"
                )
            return root, [Pair(file.stem, file) for file in embedded(root)]
        if not Path(root).is_dir():
            raise FileNotFoundError(f"{setting}: {root} is not a folder; set {setting} to one of pairs of pictures")
        place, folders = self._place(Path(root), splits)
        pairs = self._one_file_each(place, setting) if folders is None else self._two_folders(folders, setting)
        if not pairs:
            raise DataProblem(setting, [f"{place} holds no pictures, expected {self._expected()}"])
        return blur_sharp_folders.set_name(str(place)), pairs

    def has_split(self, root: str, splits: Sequence[str]) -> bool:
        """Whether ``find`` would take one of these parts."""
        return root not in EMBEDDED and self._place(Path(root), splits)[0] != Path(root)

    def _place(self, root: Path, splits: Sequence[str]) -> tuple[Path, tuple[Path, Path] | None]:
        """The part that was found, and the folders A and B where it has one of them."""
        for split in (*splits, "."):
            inside = root / split / self.folder_a, root / split / self.folder_b
            outside = root / self.folder_a / split, root / self.folder_b / split
            for folders in (inside, outside):
                if any(each.is_dir() for each in folders):
                    return root / split, folders
            if (root / split).is_dir():
                return root / split, None
        return root, None

    def _two_folders(self, folders: tuple[Path, Path], setting: str) -> list[Pair]:
        into, out = folders if self.direction == "a_to_b" else folders[::-1]
        files = [picture_files(each) if each.is_dir() else [] for each in (into, out)]
        for each in files:
            refuse_one_name(each, setting)
        inputs, targets = ({file.stem: file for file in each} for each in files)
        pairs = []
        for stem in sorted(inputs.keys() | targets.keys()):
            gt = targets.get(stem) or out / inputs[stem].name
            pairs.append(Pair(stem, gt, inputs.get(stem) or into / gt.name))
        return pairs

    def _one_file_each(self, place: Path, setting: str) -> list[Pair]:
        files = picture_files(place)
        refuse_one_name(files, setting)
        if self.is_made:
            return [Pair(file.stem, file) for file in files]
        half: Literal["left", "right"] = "left" if self.direction == "a_to_b" else "right"
        return [Pair(file.stem, file, file, lq_half=half) for file in files]

    def _expected(self) -> str:
        alone = "photos" if self.is_made else "files with both side by side"
        suffixes = ", ".join(SUFFIXES)
        return (
            f"the folders {self.folder_a} and {self.folder_b} (data.folder_a, data.folder_b), or {alone} ({suffixes})"
        )
