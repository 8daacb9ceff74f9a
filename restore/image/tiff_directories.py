"""Checks the directories of a TIFF structure (TIFF 6.0, section 2; EXIF is one) before a decoder copies their values.

In a sound file no two values share bytes, so together they are no larger than the file. A directory in which many
entries point to the same bytes takes their number times the file's size in memory, in every library that reads it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
SHARED = 65_536  # bytes of values that writers may store once and refer to twice
MOST_ENTRIES = 1000
MOST_PAGES = 1000  # no more pages are counted
_POINTERS = (34665, 34853, 40965)  # tags that point to the directories of EXIF, GPS and interoperability
_SUBFILE = 254
_IS_PREVIEW = 1


@dataclass(frozen=True)
class _Layout:
    """The byte order, and formats of a directory's count, an entry and an offset, for classic TIFF or BigTIFF."""

    order: str
    count: str
    entry: str
    offset: str
    first: int  # position of the first directory's offset

    def read(self, part: str, data: bytes, at: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self.order + part, data, at)
        except struct.error as error:
            raise ValueError("a directory ends too early") from error

    def size(self, part: str) -> int:
        return struct.calcsize(self.order + part)

    def end(self, data: bytes, start: int) -> int:
        """Position of the offset of the directory that follows the one at ``start``."""
        (count,) = self.read(self.count, data, start)
        return start + self.size(self.count) + count * self.size(self.entry)


class _Entry(NamedTuple):
    tag: int
    size: int  # bytes of its value
    value: int  # or the value's position
    stored: bytes


@dataclass
class Directories:
    """The result of the check.

    Attributes:
        data: the file, with only the plausible entries in its first directory. pages: images that are not previews.
        damage: one sentence if entries were left out.
    """

    data: bytes
    pages: int = 1
    damage: list[str] = field(default_factory=list)


def walk(data: bytes) -> Directories:
    """Check the first directory and those it points to; count the others.

    Args:
        data: a TIFF file, or EXIF without its six header bytes.

    Raises:
        ValueError: there is no directory.
    """
    layout = _layout(data)
    (start,) = layout.read(layout.offset, data, layout.first)
    entries, left_out = _believed(layout, data, start)
    kept = [each for each in entries if each.tag not in _POINTERS or _is_sound(layout, data, each.value)]
    found = Directories(data, pages=_pages(layout, data, start))
    if left_out or len(kept) < len(entries):
        found.data = _rewritten(layout, data, start, kept)
        found.damage.append("entries that do not fit into the file")
    return found


def _layout(data: bytes) -> _Layout:
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] in (b"+\0", b"\0+"):
        return _Layout(order, "Q", "HHQQ", "Q", 8)
    return _Layout(order, "H", "HHII", "I", 4)


def _entries(layout: _Layout, data: bytes, start: int) -> Iterator[_Entry]:
    (count,) = layout.read(layout.count, data, start)
    size, at = layout.size(layout.entry), start + layout.size(layout.count)
    for k in range(min(count, (len(data) - at) // size)):
        stored = data[at + k * size : at + (k + 1) * size]
        tag, type_, count, value = layout.read(layout.entry, stored, 0)
        yield _Entry(tag, SIZES.get(type_, 1) * count, value, stored)


def _believed(layout: _Layout, data: bytes, start: int) -> tuple[list[_Entry], int]:
    """The first entry of each tag, while their values together fit into the file; and how many are left out."""
    chosen: dict[int, _Entry] = {}
    room, left_out = len(data) + SHARED, 0
    for each in _entries(layout, data, start):
        if each.tag in chosen or each.size > room or len(chosen) == MOST_ENTRIES:
            left_out += 1
            continue
        chosen[each.tag] = each
        room -= each.size
    return list(chosen.values()), left_out


def _is_sound(layout: _Layout, data: bytes, start: int) -> bool:
    try:
        return not _believed(layout, data, start)[1]
    except ValueError:
        return True  # its reader will report the error


def _pages(layout: _Layout, data: bytes, start: int) -> int:
    seen, pages = set[int](), 0
    while start and start not in seen and len(seen) < MOST_PAGES:
        seen.add(start)
        try:
            first = next(_entries(layout, data, start), None)  # entries are sorted, and this tag is the lowest
            (start,) = layout.read(layout.offset, data, layout.end(data, start))
        except ValueError:
            break
        pages += not (first is not None and first.tag == _SUBFILE and _value(layout, first) & _IS_PREVIEW)
    return max(1, pages)


def _value(layout: _Layout, entry: _Entry) -> int:
    """The value of an entry with a single integer."""
    (value,) = layout.read("I", entry.stored, layout.size("HH" + layout.offset))
    return value


def _rewritten(layout: _Layout, data: bytes, start: int, entries: list[_Entry]) -> bytes:
    """The file with a directory of only these entries, written over the original one."""
    (count,) = layout.read(layout.count, data, start)
    after = start + layout.size(layout.count) + count * layout.size(layout.entry)
    following = data[after : after + layout.size(layout.offset)].ljust(layout.size(layout.offset), b"\0")
    body = (
        struct.pack(layout.order + layout.count, len(entries)) + b"".join(each.stored for each in entries) + following
    )
    return data[:start] + body + data[start + len(body) :]
