"""Whether the C library keeps freed memory for the next piece of work."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of glibc's mallopt
_NORMAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20}  # what glibc comes to by itself
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1}


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory until the block ends, then give it back (glibc; elsewhere nothing changes).

    A network's maps are above the 32 MiB from which glibc otherwise asks the system for each anew, which clears every
    page of it: two fifths of the time of an image on a CPU (``restore benchmark what=[photo]``).
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):
        yield
        return
    for option, value in _KEPT.items():
        library.mallopt(option, value)
    try:
        yield
    finally:
        for option, value in _NORMAL.items():
            library.mallopt(option, value)
        library.malloc_trim(0)
