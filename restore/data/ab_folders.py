"""Finds the image pairs of translation data.

Folder layouts::

        <root>/{train,val,test}/{A,B}/*.png     images of A and B with the same name form a pair
        <root>/{A,B}/{train,val,test}/*.png     the same, with the splits inside
        <root>/{train,val,test}/*.jpg           both images side by side in one file: A left, B right
        <root>/{train,val,test}/*.jpg           single photos, from which the other image is computed (contours)

``root`` may also be one of the split folders, or a folder without splits. The two folders may have other names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from restore.data import blur_sharp_folders
from restore.data.embedded_photos import EMBEDDED, embedded
from restore.data.image_folders import image_files, refuse_same_stem
from restore.data.pair import DataProblem, Pair
from restore.image.formats import SUFFIXES
from restore.io.errors import SettingError

Direction = Literal["a_to_b", "b_to_a"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the images of a pair are found, and which of them is the input.

    Attributes:
        direction: ``a_to_b``: A is the input, B the target; ``b_to_a``: the reverse. Side by side, A is the left half.
        folder_a, folder_b: names of the two folders.
        is_made: single images are gt, and the input is computed from them.
    """

    direction: Direction = "a_to_b"
    folder_a: str = "A"
    folder_b: str = "B"
    is_made: bool = False

    def __post_init__(self) -> None:
        if self.direction not in ("a_to_b", "b_to_a"):
            raise SettingError("data.direction", self.direction, "a_to_b or b_to_a")
        if not self.folder_a or not self.folder_b or self.folder_a == self.folder_b:
            raise SettingError(
                "data.folder_a",
                repr(self.folder_a),
                f"two different folder names, but data.folder_b is {self.folder_b!r}",
            )

    def find(self, root: str, splits: Sequence[str], *, setting: str) -> tuple[str, list[Pair]]:
        """The set's name, and its pairs sorted by name.

        Args:
            root: a folder, or the name of an embedded set of photos.
            splits: split folders to try, in this order; if none exists, ``root`` itself is the set.
            setting: name of the setting, for errors.

        Raises:
            SettingError: no such folder, or single photos where pairs are needed.
            DataProblem: no images, or two of the same name. Missing partners are reported by ``check_pairs``, not here.
        """
        if root in EMBEDDED:
            if not self.is_made:
                raise SettingError(
                    setting,
                    root,
                    "a folder of pairs, because these photos have no partners",
                    f"set for example {setting}=[my_pairs], or data=contours, whose inputs are contours found by Canny",
                )
            return root, [Pair(file.stem, file) for file in embedded(root)]
        if not Path(root).is_dir():
            raise SettingError(setting, root, "a folder of pairs of images")
        part, folders = self._part(Path(root), splits)
        pairs = self._one_file_each(part, setting) if folders is None else self._two_folders(folders, setting)
        if not pairs:
            raise DataProblem(setting, [f"{part} holds no images, expected {self._expected()}"])
        return blur_sharp_folders.set_name(str(part)), pairs

    def has_split(self, root: str, splits: Sequence[str]) -> bool:
        """Whether ``find`` would use one of these splits."""
        return root not in EMBEDDED and self._part(Path(root), splits)[0] != Path(root)

    def _part(self, root: Path, splits: Sequence[str]) -> tuple[Path, tuple[Path, Path] | None]:
        """The first split that exists, and its folders A and B if it has at least one of them."""
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
        files = [image_files(each) if each.is_dir() else [] for each in (into, out)]
        for each in files:
            refuse_same_stem(each, setting)
        inputs, targets = ({file.stem: file for file in each} for each in files)
        pairs = []
        for stem in sorted(inputs.keys() | targets.keys()):
            gt = targets.get(stem) or out / inputs[stem].name
            pairs.append(Pair(stem, gt, inputs.get(stem) or into / gt.name))
        return pairs

    def _one_file_each(self, part: Path, setting: str) -> list[Pair]:
        files = image_files(part)
        refuse_same_stem(files, setting)
        if self.is_made:
            return [Pair(file.stem, file) for file in files]
        half: Literal["left", "right"] = "left" if self.direction == "a_to_b" else "right"
        return [Pair(file.stem, file, file, lq_half=half) for file in files]

    def _expected(self) -> str:
        single = "photos" if self.is_made else "files with both side by side"
        suffixes = ", ".join(SUFFIXES)
        return (
            f"the folders {self.folder_a} and {self.folder_b} (data.folder_a, data.folder_b), or {single} ({suffixes})"
        )
