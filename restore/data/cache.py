"""Keeps decoded images in memory, for all data sets of training samples."""

import threading
from collections.abc import Callable
from typing import ClassVar, Generic, Protocol, TypeVar

from torch import Tensor

from restore.data.pair import DecodedPair, Pair


class HasBytes(Protocol):
    """One or several images of known size."""

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""


class PairSource(Protocol):
    """Source of decoded pairs for data sets of training samples: :class:`ImageCache` or a pack on disk."""

    def get(self, key: Pair, decode: Callable[[Pair], DecodedPair]) -> DecodedPair:
        """The pair's images, which must not be changed in place; decoded from the files if they are not stored."""

    def expect(self, crop: Tensor) -> None:
        """Announce that this part of an image, (C, h, w), is about to be read."""


Key = TypeVar("Key")
Item = TypeVar("Item", bound=HasBytes)


class ImageCache(Generic[Key, Item]):
    """Keeps decoded images until one does not fit; from then on images are decoded each time they are needed.

    It is filled before the loader's workers start, so that they share one copy. Items returned by :meth:`get` are not
    copied and must not be changed in place.

    Args:
        cache_gb: capacity in GiB.

    Attributes:
        kept_bytes, room: bytes in use, and bytes left.
        is_full: no further items are kept.
    """

    # shared by all caches, because a lock cannot be pickled for a spawned worker
    _lock: ClassVar = threading.Lock()

    def __init__(self, cache_gb: float = 0.0) -> None:
        self.room = int(cache_gb * 2**30)
        self.kept_bytes = 0
        self.is_full = self.room == 0
        self._kept: dict[Key, Item] = {}

    def add(self, key: Key, item: Item) -> None:
        """Keep an item if there is room; several threads may call this."""
        with self._lock:
            self.is_full = self.is_full or (key not in self._kept and item.nbytes > self.room)
            if not self.is_full and key not in self._kept:
                self.room -= item.nbytes
                self.kept_bytes += item.nbytes
                self._kept[key] = item

    def get(self, key: Key, decode: Callable[[Key], Item]) -> Item:
        """The item from memory, or decoded from its key without being kept."""
        kept = self._kept.get(key)
        return decode(key) if kept is None else kept

    def expect(self, crop: Tensor) -> None:
        """Do nothing: the images are in memory."""
