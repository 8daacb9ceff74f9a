"""The decoded training images of a data set in one file on disk, from which crops are read without decoding.

The file is memory-mapped, so only the pages of a crop are read, and all processes of a machine share them in the page
cache. Images are stored exactly as they are in memory, so training from the pack is bit-identical to training from the
files.
"""

import hashlib
import logging
import mmap
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from restore.data.file_checks import CheckedPair, SmallestSide, size_problems
from restore.data.pack_records import (
    IMAGES,
    LOCK,
    RECORDS,
    PackRecord,
    Place,
    Records,
    key_of,
    read_records,
    stamps,
)
from restore.data.packing import Decode, add, begin, prepare
from restore.data.pair import DecodedPair, Pair
from restore.image import reading
from restore.io import files
from restore.io.errors import SettingError
from restore.io.progress import doing
from restore.io.wording import counted

log = logging.getLogger(__name__)


class PackedPairs:
    """Reads pairs from ``images.bin``; each process maps the file itself.

    Args:
        file: path of ``images.bin``. places: positions of the pairs in it.
    """

    def __init__(self, file: Path, places: Mapping[Pair, Place]) -> None:
        self._file, self._places = file, places
        self._map: mmap.mmap | None = None
        self._pixels = torch.empty(0, dtype=torch.uint8)

    def __getstate__(self) -> dict[str, Any]:
        return vars(PackedPairs(self._file, self._places))  # a spawned worker maps the file itself

    def get(self, key: Pair, decode: Callable[[Pair], DecodedPair]) -> DecodedPair:
        """The pair from the pack, not to be changed in place; decoded from its files if it is not there."""
        place = self._places.get(key)
        if place is None:
            return decode(key)
        if self._map is None:
            self._open()
        gt, *lq = _views(self._pixels, place)
        return DecodedPair(gt, lq[0] if lq else None, place.degradation)

    def _open(self) -> None:
        with open(self._file, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with warnings.catch_warnings():
            # torch warns that the memory is read-only; a writable private map would count as memory of the size of the
            # data
            warnings.simplefilter("ignore", UserWarning)
            self._pixels = torch.from_numpy(np.frombuffer(self._map, np.uint8))

    def expect(self, crop: Tensor) -> None:
        """Prefetch exactly the rows of a crop, (C, h, w); the system would read megabytes around the first."""
        begin = crop.data_ptr() - self._pixels.data_ptr()
        if self._map is None or not 0 <= begin < len(self._map) or not hasattr(mmap, "MADV_WILLNEED"):
            return
        planes, rows, columns = crop.shape
        length = (rows - 1) * crop.stride(1) + columns
        for plane in range(planes):
            first = begin + plane * crop.stride(0)
            page = first // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, page, first + length - page)


def _views(pixels: Tensor, place: Place) -> Iterator[Tensor]:
    begin = place.offset
    for image in place.images:
        stored = pixels[begin : begin + image.nbytes].view(image.stored, image.height, image.width)
        yield stored.expand(image.channels, -1, -1)
        begin += image.nbytes


class Filled(NamedTuple):
    """A pack that holds all valid pairs of a data set.

    Attributes:
        source: reads the pairs. checked: facts about their files. seconds: time spent on adding pairs.
    """

    source: PackedPairs
    checked: list[CheckedPair]
    seconds: float


class _Found(NamedTuple):
    """The state of a data set's pairs in a pack.

    Attributes:
        before: all records of the pack. records: those of the data set's pairs. missing: pairs not in the pack.
        touched: records of files with a new modification time and unchanged content.
    """

    before: Records
    records: dict[Pair, PackRecord]
    missing: list[Pair]
    touched: list[PackRecord]


class Pack:
    """The pack in a folder: finds the pairs of a data set in it, and adds the missing ones.

    Args:
        folder: the pack's folder, made on first use.
        recipe: settings that the decoded pairs depend on, by name.
        name: names a file independently of where the data lie, see :func:`restore.data.pack_records.names_below`.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any], name: Callable[[Path], str]) -> None:
        self.folder, self.recipe, self._name = folder, recipe, name

    def fill(self, pairs: Sequence[Pair], scale: int, *, smallest: SmallestSide, decode: Decode) -> Filled:
        """Add the pairs that the pack lacks, and return all of them with the facts about their files.

        One process adds at a time while the others wait; after a kill, the next start continues from what was recorded.

        Args:
            scale, smallest: requirements that the sizes are checked against.
            decode: makes the images to pack from the decoded files, gt first.

        Raises:
            SettingError: the pack was made from other files or settings, a file has changed since, the folder cannot be
                written to, or the disk has too little room.
        """
        found, bad, seconds = self._find(pairs), dict[Pair, CheckedPair](), 0.0
        if found.missing:
            files.refuse_unwritable(self.folder, setting="data.pack")
            started = time.perf_counter()
            with self._alone():
                found = self._find(pairs)  # another process may have added them in the meantime
                if found.missing:
                    begin(self.folder, self.recipe)
                    work = partial(prepare, scale=scale, smallest=smallest, decode=decode)
                    records, bad = add(self.folder, found.before, found.missing, self._key, work)
                    found.records.update(records)
                    log.info("%s packed into %s", counted(len(records), "pair"), self.folder)
            seconds = time.perf_counter() - started
        if found.touched:
            self._touch(found.touched)
        places = {pair: record.place for pair, record in found.records.items()}
        checked = (bad.get(pair) or _checked(pair, found.records[pair], scale, smallest) for pair in pairs)
        return Filled(PackedPairs(self.folder / IMAGES, places), list(checked), seconds)

    def _key(self, pair: Pair) -> str:
        return key_of(pair, self._name)

    def _find(self, pairs: Sequence[Pair]) -> _Found:
        before, changed = read_records(self.folder, self.recipe), list[Path]()
        found = _Found(before, {}, [], [])
        own = [before.of.get(self._key(pair)) for pair in pairs]
        if before.of and not any(own):
            raise SettingError(
                "data.pack",
                f"{self.folder}, which holds {counted(len(before.of), 'pair')} of other files",
                f"a pack of the {counted(len(pairs), 'training pair')}, or an empty folder",
                "name another folder",
            )
        with ThreadPoolExecutor() as pool:  # on a network file system each file has a high latency
            for pair, record, state in zip(pairs, own, pool.map(_compare, pairs, own), strict=True):
                if record is None or state is None:
                    found.missing.append(pair)
                elif isinstance(state, Path):
                    changed.append(state)
                else:
                    found.records[pair] = state
                    found.touched.extend([state] if state is not record else [])
        if changed:
            raise SettingError(
                "data.pack",
                f"{self.folder}, made before {files.listed(changed, 3)} changed",
                "a pack of the present files",
                f"remove {self.folder} to have the pack made again, or name another folder",
            )
        return found

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the pack, waiting for another process that holds the lock; the system frees it if its process ends."""
        lock = FileLock(self.folder / LOCK)
        with suppress(Timeout):
            lock.acquire(timeout=0)
        if not lock.is_locked:
            with doing(f"waiting for another process, which packs into {self.folder}"):
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _touch(self, records: Sequence[PackRecord]) -> None:
        """Record the new times, so that the next start need not read the files; skipped if the pack is not writable."""
        with suppress(OSError, Timeout), FileLock(self.folder / LOCK, timeout=0):
            length = read_records(self.folder, self.recipe).length
            with open(self.folder / RECORDS, "r+b") as file:
                file.truncate(length)
                file.seek(length)
                file.write("".join(record.line() for record in records).encode())


def _compare(pair: Pair, record: PackRecord | None) -> PackRecord | Path | None:
    """The record, with new times if only those changed; the file, if its content changed; None if either is missing."""
    if record is None:
        return None
    try:
        now = stamps(pair)
        if now == [(each.size, each.time) for each in record.stamps]:
            return record
        for file, (size, _), old in zip(pair.files, now, record.stamps, strict=True):
            if size != old.size or hashlib.sha256(reading.content_of(file)).hexdigest() != old.sha256:
                return file
    except OSError:
        return None
    times = (changed for _, changed in now)
    return replace(record, stamps=tuple(old._replace(time=new) for old, new in zip(record.stamps, times, strict=True)))


def _checked(pair: Pair, record: PackRecord, scale: int, smallest: SmallestSide) -> CheckedPair:
    contents = {stamp.sha256: file for stamp, file in zip(record.stamps, pair.files, strict=True)}
    problems = size_problems(pair, record.sizes, scale, smallest)
    return CheckedPair(problems, contents, list(record.kinds), record.digest, list(record.sizes), record.is_sharper)
