"""The records of a pack: the settings it was made with, and one entry per pair of images.

A pack is a folder of three files: ``images.bin`` holds the decoded pixels of all images in sequence, ``pairs.jsonl``
one line per pair, written once its pixels are on disk, and ``pack.json`` the settings.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from restore.data.embedded_photos import EMBEDDED, embedded
from restore.data.pair import Pair
from restore.io import files
from restore.io.errors import SettingError

FORMAT = 1
HEADER, RECORDS, IMAGES, LOCK = "pack.json", "pairs.jsonl", "images.bin", "lock"


class Planes(NamedTuple):
    """An image in the pack: uint8, ``stored`` planes of (height, width); a grey one is stored once for 3 channels."""

    channels: int
    stored: int
    height: int
    width: int

    @property
    def nbytes(self) -> int:
        """Bytes stored."""
        return self.stored * self.height * self.width


class Stamp(NamedTuple):
    """A source file as it was packed; the content is hashed again only if the time differs."""

    size: int
    time: int  # modification time in nanoseconds
    sha256: str


class Place(NamedTuple):
    """The position of a pair in the pack.

    Attributes:
        offset: of its first byte.
        images: gt, then lq if the pack holds one.
        degradation: description of how lq was made.
    """

    offset: int
    images: tuple[Planes, ...]
    degradation: str

    @property
    def end(self) -> int:
        """Offset of the first byte after the pair."""
        return self.offset + sum(image.nbytes for image in self.images)


@dataclass(frozen=True)
class PackRecord:
    """One pair in the pack.

    Attributes:
        key: names of the pair and of its files, relative to the data's folder, see :func:`key_of`.
        stamps: one per file.
        digest, kinds, sizes, is_sharper: see :class:`restore.data.file_checks.CheckedPair`.
        place: position of its images.
    """

    key: str
    stamps: tuple[Stamp, ...]
    digest: str
    kinds: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    is_sharper: bool
    place: Place

    def line(self) -> str:
        """The record as a line of ``pairs.jsonl``."""
        offset, images, degradation = self.place
        return files.json_text({**vars(self), "place": [offset, images, degradation]}) + "\n"

    @classmethod
    def of_line(cls, line: str) -> "PackRecord":
        """Parse such a line.

        Raises:
            ValueError, TypeError, KeyError: the line is not a record.
        """
        found = json.loads(line)
        offset, images, degradation = found["place"]
        return cls(
            key=str(found["key"]),
            stamps=tuple(Stamp(*each) for each in found["stamps"]),
            digest=found["digest"],
            kinds=tuple(found["kinds"]),
            sizes=tuple((height, width) for height, width in found["sizes"]),
            is_sharper=bool(found["is_sharper"]),
            place=Place(int(offset), tuple(Planes(*each) for each in images), degradation),
        )


class Records(NamedTuple):
    """The records of a pack by key, the last one for each key, and the length of their lines in bytes."""

    of: Mapping[str, PackRecord]
    length: int

    @property
    def end(self) -> int:
        """Number of bytes of ``images.bin`` that the records use."""
        return max((record.place.end for record in self.of.values()), default=0)


def read_records(folder: Path, recipe: Mapping[str, Any]) -> Records:
    """The records of a pack, empty if there is no pack yet. An incomplete last line is ignored.

    Args:
        recipe: settings by name that determine how files are read; must equal those of the pack.

    Raises:
        SettingError: the folder contains something else, a pack made with other settings, or a damaged pack.
    """
    header = folder / HEADER
    if not header.exists():
        _refuse_other_folder(folder)
        return Records({}, 0)
    _refuse_other_recipe(folder, files.read_mapping(header, ["format", "recipe"]), recipe)
    path = folder / RECORDS
    content = path.read_bytes() if path.exists() else b""
    length = content.rfind(b"\n") + 1
    try:
        found = [PackRecord.of_line(line) for line in content[:length].decode().split("\n")[:-1]]
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(folder, f"whose {RECORDS} is damaged") from error
    records = Records({record.key: record for record in found}, length)
    size = (folder / IMAGES).stat().st_size if (folder / IMAGES).exists() else 0
    if size < records.end:
        raise _damaged(folder, f"whose {IMAGES} has {size} bytes of {records.end}")
    return records


def _damaged(folder: Path, how: str) -> SettingError:
    return SettingError("data.pack", f"{folder}, {how}", "a complete pack", f"remove {folder} to have it made again")


def _refuse_other_folder(folder: Path) -> None:
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    # hidden files and those of tempfile may belong to another process that is creating the pack now
    others = sorted(name for name in names if name != LOCK and not name.startswith((".", "tmp")))
    if others:
        expected = f"a pack, or an empty folder to make one in, but it holds {files.listed(others, 3)}"
        raise SettingError("data.pack", folder, expected, "name another folder")


def _refuse_other_recipe(folder: Path, header: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    remedy = f"name another folder, or remove {folder} to have the pack made again"
    if header["format"] != FORMAT:
        raise SettingError("data.pack", f"{folder}, of format {header['format']}", f"format {FORMAT}", remedy)
    made, wanted = header["recipe"], files.as_json(dict(recipe))
    for key in sorted({*made, *wanted}):
        if made.get(key) != wanted.get(key):
            got = f"{folder}, made with data.{key}={made.get(key)}"
            raise SettingError("data.pack", got, f"a pack made with data.{key}={wanted.get(key)}", remedy)


def key_of(pair: Pair, name: Callable[[Path], str]) -> str:
    """The names of the pair and of its files, as the key of a record."""
    return "|".join([pair.name, *map(name, pair.files), pair.lq_half or ""])


def names_below(roots: Sequence[str]) -> Callable[[Path], str]:
    """A function that names a file by the index of its root in ``roots`` and its path below that root.

    So a data set that is moved keeps its names.

    Args:
        roots: folders and names of embedded sets, as in ``data.root``.
    """
    begins = [(k, f"{Path(root)}{os.sep}") for k, root in enumerate(roots) if root not in EMBEDDED]
    photos = {file: k for k, root in enumerate(roots) if root in EMBEDDED for file in embedded(root)}

    def name(file: Path) -> str:
        if file in photos:
            return f"{photos[file]}:{file.name}"
        text = str(file)
        for k, begin in begins:
            if text.startswith(begin):
                return f"{k}:{text[len(begin) :]}"
        return f"{begins[0][0]}:{os.path.relpath(file, begins[0][1])}"  # lq images in a folder beside the root

    return name


def stamps(pair: Pair) -> list[tuple[int, int]]:
    """Size and modification time of each file.

    Raises:
        OSError: a file does not exist.
    """
    return [(found.st_size, found.st_mtime_ns) for found in map(os.stat, pair.files)]
