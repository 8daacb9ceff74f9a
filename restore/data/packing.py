"""Adds pairs to a pack: each is checked, decoded, written and recorded, so that packing can resume after a kill."""

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

RECORD_EVERY = 2.0  # seconds; at most so much work is lost by a kill

Decode = Callable[[Pair, Sequence[Tensor]], DecodedPair]  # makes what is packed from the decoded files, gt first


class Ready(NamedTuple):
    """A pair before it is written; ``decoded`` is None if the pair has problems; for ``stamps`` see :func:`stamps`."""

    pair: Pair
    checked: CheckedPair
    stamps: list[tuple[int, int]]
    decoded: DecodedPair | None


class Added(NamedTuple):
    """The result: records of the pairs that were added, and the checks of those with problems."""

    records: dict[Pair, PackRecord]
    bad: dict[Pair, CheckedPair]


def begin(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Write the header of a new pack; an existing one is kept. The caller must hold the pack's lock."""
    if not (folder / HEADER).exists():
        files.write_json(folder / HEADER, {"format": FORMAT, "recipe": dict(recipe)}, indent=2)


def add(
    folder: Path, before: Records, pairs: Sequence[Pair], key: Callable[[Pair], str], prepare: Callable[[Pair], Ready]
) -> Added:
    """Decode pairs and write them to a pack. The caller must hold the pack's lock.

    Args:
        before: the pack's records. key: gives the key of a pair. prepare: see :func:`prepare`; called in several
            threads.

    Raises:
        SettingError: the disk has too little room.
    """
    added = Added({}, {})
    with (
        _writer(folder, before, len(pairs)) as writer,
        ThreadPoolExecutor() as pool,  # decoding releases the GIL
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
    """Check and decode a pair; its sizes are checked against ``scale`` and ``smallest``."""
    decoded: list[DecodedPair] = []

    def keep(pair: Pair, images: Sequence[Tensor]) -> list[str]:
        try:
            decoded.append(decode(pair, images))
        except ValueError as error:  # not a valid label map
            return [str(error)]
        return []

    found: list[tuple[int, int]] = []
    with suppress(OSError):  # a missing file is reported by the check
        found = stamps(pair)  # taken before reading, so that a later change is noticed
    checked = check_pair(pair, scale, smallest, keep)
    return Ready(pair, checked, found, None if checked.problems else decoded[0])


def _ahead(pool: ThreadPoolExecutor, work: Callable[[Pair], Ready], pairs: Sequence[Pair]) -> Iterator[Ready]:
    """Results in order; only a few are computed ahead, because each holds whole images."""
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
    """A writer for ``count`` further pairs, which at the end, even after an error, records what is written."""
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
    """The file, opened for writing after its first ``length`` bytes; leftovers of a killed packing are cut off."""
    with FileIO(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+") as file:
        file.truncate(length)
        file.seek(length)
        yield file


class _Writer:
    """Writes pixels, and records a pair only once its pixels are on disk."""

    def __init__(self, folder: Path, images: FileIO, records: FileIO, end: int, count: int) -> None:
        self._folder, self._images, self._records, self._count = folder, images, records, count
        self._first = self._end = end
        self._done, self._recorded = 0, time.monotonic()
        self._pending: list[PackRecord] = []

    def write(self, key: str, ready: Ready, decoded: DecodedPair) -> PackRecord:
        """Write a pair's pixels.

        Raises:
            SettingError: the disk has too little room for the remaining pairs.
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
        """Flush the pixels, then write the records, so that recorded pairs survive even a power failure."""
        os.fsync(self._images.fileno())
        _write_all(self._records, memoryview("".join(each.line() for each in self._pending).encode()))
        os.fsync(self._records.fileno())
        self._pending, self._recorded = [], time.monotonic()

    def _to_come(self) -> int:
        """Estimated bytes of the remaining pairs, from the mean size of those written."""
        return (self._count - self._done) * (self._end - self._first) // max(1, self._done)

    def without_room(self) -> SettingError:
        """The error for a disk that is too full."""
        return SettingError(
            "data.pack",
            f"{self._folder}, on a disk that is full after {self._done} of {self._count} pairs",
            f"room for about {decimal(self._to_come())} more",
            "free disk space and start the same command again, which continues from there; or name a folder on "
            "another disk",
        )


def _stored(image: Tensor) -> tuple[Planes, Tensor]:
    """The planes of uint8 (C, H, W) to write; only one if a grey image repeats it."""
    channels, height, width = image.shape
    planes = image[:1] if image.stride(0) == 0 else image
    return Planes(channels, planes.shape[0], height, width), planes


def _record(key: str, ready: Ready, place: Place) -> PackRecord:
    checked, hashes = ready.checked, [*ready.checked.contents]
    found = tuple(
        Stamp(size, changed, hashes[min(k, len(hashes) - 1)])  # files of equal content share one hash
        for k, (size, changed) in enumerate(ready.stamps)
    )
    return PackRecord(key, found, checked.digest, tuple(checked.kinds), tuple(checked.sizes), checked.is_sharper, place)


def _write_all(file: FileIO, data: memoryview) -> None:
    while data:  # one call may write only part of more than 2 GiB, or of anything on an almost full disk
        data = data[file.write(data) :]
