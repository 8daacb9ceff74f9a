"""Adds pairs to a pack: each is checked, decoded, written and recorded, so that a killed packing goes on after it."""

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from rich.filesize import decimal
from torch import Tensor

from restore.data.file_checks import CheckedPair, SmallestSide, check_pair
from restore.data.pack_records import FORMAT, HEADER, IMAGES, RECORDS, PackRecord, Place, Planes, Records, Stamp, stamps
from restore.data.pair import DecodedPair, Pair
from restore.io import files
from restore.io.errors import SettingError
from restore.io.progress import show_progress

RECORD_EVERY = 2.0  # seconds: what a killed packing has to do again

Decode = Callable[[Pair, Sequence[Tensor]], DecodedPair]  # what is packed, from the decoded files, gt first


class Ready(NamedTuple):
    """A pair before it is written; ``decoded`` is missing where it has problems, ``stamps`` as :func:`stamps`."""

    pair: Pair
    checked: CheckedPair
    stamps: list[tuple[int, int]]
    decoded: DecodedPair | None


class Added(NamedTuple):
    """What became of the pairs: records of those that were added, and the others with their problems."""

    records: dict[Pair, PackRecord]
    bad: dict[Pair, CheckedPair]


def begin(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Describe a new pack; one that is there stays. Only under the pack's lock."""
    if not (folder / HEADER).exists():
        files.write_json(folder / HEADER, {"format": FORMAT, "recipe": dict(recipe)}, indent=2)


def add(
    folder: Path, before: Records, pairs: Sequence[Pair], key: Callable[[Pair], str], prepare: Callable[[Pair], Ready]
) -> Added:
    """Decode pairs and write them to a pack. Only under the pack's lock.

    Args:
        before: what the pack holds. key: of a pair's record. prepare: see :func:`prepare`; called in several threads.

    Raises:
        SettingError: the disk has too little room.
    """
    added = Added({}, {})
    with (
        _writer(folder, before, len(pairs)) as writer,
        ThreadPoolExecutor() as pool,  # decoding releases the interpreter's lock
        show_progress("pairs packed", len(pairs)) as (_, advance),
    ):
        for ready in _ahead(pool, prepare, pairs):
            if ready.decoded is None:
                added.bad[ready.pair] = ready.checked
            else:
                added.records[ready.pair] = writer.write(key(ready.pair), ready, ready.decoded)
            advance()
    return added


def prepare(pair: Pair, scale: int, smallest: SmallestSide, decode: Decode) -> Ready:
    """Check and decode a pair; ``scale`` and ``smallest`` are what its sizes are compared with."""
    decoded: list[DecodedPair] = []

    def keep(pair: Pair, images: Sequence[Tensor]) -> list[str]:
        try:
            decoded.append(decode(pair, images))
        except ValueError as error:  # not a valid label map
            return [str(error)]
        return []

    found: list[tuple[int, int]] = []
    with suppress(OSError):  # a missing file, which the check names
        found = stamps(pair)  # before it is read: a later change is noticed
    checked = check_pair(pair, scale, smallest, keep)
    return Ready(pair, checked, found, None if checked.problems else decoded[0])


def _ahead(pool: ThreadPoolExecutor, work: Callable[[Pair], Ready], pairs: Sequence[Pair]) -> Iterator[Ready]:
    """Results in order; few wait at a time, because they hold whole images."""
    waiting: deque[Future[Ready]] = deque()
    try:
        for pair in pairs:
            waiting.append(pool.submit(work, pair))
            if len(waiting) > (os.cpu_count() or 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for each in waiting:
            each.cancel()


@contextmanager
def _writer(folder: Path, before: Records, count: int) -> Iterator["_Writer"]:
    """Writes ``count`` pairs after those before, and records at the end what is written, whatever the end is."""
    with _opened(folder / IMAGES, before.end) as images, _opened(folder / RECORDS, before.length) as records:
        writer = _Writer(folder, images, records, before.end, count)
        try:
            try:
                yield writer
            finally:
                writer.record()
        except OSError as error:
            if error.errno in files.FULL:
                raise writer.without_room() from error
            raise


@contextmanager
def _opened(path: Path, length: int) -> Iterator[FileIO]:
    """The file to write after its first ``length`` bytes; what a killed packing left after them is cut off."""
    with FileIO(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+") as file:
        file.truncate(length)
        file.seek(length)
        yield file


class _Writer:
    """Writes pixels, and records them once they are on the disk."""

    def __init__(self, folder: Path, images: FileIO, records: FileIO, end: int, count: int) -> None:
        self._folder, self._images, self._records, self._count = folder, images, records, count
        self._first = self._end = end
        self._done, self._recorded = 0, time.monotonic()
        self._pending: list[PackRecord] = []

    def write(self, key: str, ready: Ready, decoded: DecodedPair) -> PackRecord:
        """Write a pair's pixels.

        Raises:
            SettingError: the disk has too little room for those to come.
        """
        planes = [_stored(image) for image in (decoded.gt, decoded.lq) if image is not None]
        place = Place(self._end, tuple(layout for layout, _ in planes), decoded.degradation)
        for _, pixels in planes:
            _write_all(self._images, pixels.contiguous().numpy().reshape(-1).data)
        record = _record(key, ready, place)
        self._pending.append(record)
        self._end, self._done = place.end, self._done + 1
        if time.monotonic() - self._recorded > RECORD_EVERY:
            self.record()
            if self._to_come() > shutil.disk_usage(self._folder).free:
                raise self.without_room()
        return record

    def record(self) -> None:
        """Bring the pixels to the disk, then the records: whatever is recorded is there after a loss of power, too."""
        os.fsync(self._images.fileno())
        _write_all(self._records, memoryview("".join(each.line() for each in self._pending).encode()))
        os.fsync(self._records.fileno())
        self._pending, self._recorded = [], time.monotonic()

    def _to_come(self) -> int:
        """Bytes of the pairs that are not written yet, if they are as large as those that are."""
        return (self._count - self._done) * (self._end - self._first) // max(1, self._done)

    def without_room(self) -> SettingError:
        """The error of a disk that is too full."""
        return SettingError(
            "data.pack",
            f"{self._folder}, on a disk that is full after {self._done} of {self._count} pairs",
            f"room for about {decimal(self._to_come())} more",
            "make room, then start the same command again, which goes on from there; or name a folder on another disk",
        )


def _stored(image: Tensor) -> tuple[Planes, Tensor]:
    """The planes of uint8 (C, H, W) that are written: one, where a grey image repeats it."""
    channels, height, width = image.shape
    planes = image[:1] if image.stride(0) == 0 else image
    return Planes(channels, planes.shape[0], height, width), planes


def _record(key: str, ready: Ready, place: Place) -> PackRecord:
    checked, hashes = ready.checked, [*ready.checked.contents]
    found = tuple(
        Stamp(size, changed, hashes[min(k, len(hashes) - 1)])  # two files of one content have one hash
        for k, (size, changed) in enumerate(ready.stamps)
    )
    return PackRecord(key, found, checked.digest, tuple(checked.kinds), tuple(checked.sizes), checked.is_sharper, place)


def _write_all(file: FileIO, data: memoryview) -> None:
    while data:  # a write of more than 2 GiB, or to a disk that is almost full, takes a part
        data = data[file.write(data) :]
