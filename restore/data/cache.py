"""Decoded images kept in memory, for every data set of training samples."""

import threading
from collections.abc import Callable
from typing import ClassVar, Generic, Protocol, TypeVar

from torch import Tensor

from restore.data.pair import DecodedPair, Pair


class HasBytes(Protocol):
    """An image, or several, whose memory is known."""

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""


class PairSource(Protocol):
    """Where data sets of training samples get decoded pairs from: :class:`ImageCache` or a pack on the disk."""

    def get(self, key: Pair, decode: Callable[[Pair], DecodedPair]) -> DecodedPair:
        """The pair's images, which must not be changed in place; decoded from its files where they are not kept."""

    def expect(self, crop: Tensor) -> None:
        """Hear which part of an image (C, h, w) is about to be read."""


Key = TypeVar("Key")
Item = TypeVar("Item", bound=HasBytes)


class ImageCache(Generic[Key, Item]):
    """Keeps decoded images until the first one that does not fit; later ones are decoded each time they are asked for.

    Filled before the loader's workers start, so that they share one copy. The items of :meth:`get` are not copied and
    must not be changed in place.

    Args:
        cache_gb: room in GiB.

    Attributes:
        kept_bytes, room: bytes that are taken, and left.
        is_full: nothing more is kept.
    """

    # of all caches: a lock of its own could not be sent to a worker that is spawned
    _lock: ClassVar = threading.Lock()

    def __init__(self, cache_gb: float = 0.0) -> None:
        self.room = int(cache_gb * 2**30)
        self.kept_bytes = 0
        self.is_full = self.room == 0
        self._kept: dict[Key, Item] = {}

    def add(self, key: Key, item: Item) -> None:
        """Keep an item while there is room; may be called by several threads."""
        with self._lock:
            self.is_full = self.is_full or (key not in self._kept and item.nbytes > self.room)
            if not self.is_full and key not in self._kept:
                self.room -= item.nbytes
                self.kept_bytes += item.nbytes
                self._kept[key] = item

    def get(self, key: Key, decode: Callable[[Key], Item]) -> Item:
        """The item from memory, or decoded from its key and not kept."""
        kept = self._kept.get(key)
        return decode(key) if kept is None else kept

    def expect(self, crop: Tensor) -> None:
        """Do nothing: it is in memory."""
