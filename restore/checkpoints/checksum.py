"""A checksum in each checkpoint file, to detect damage: torch silently loads weights with flipped bits.

A checkpoint is a zip archive, and a zip archive may end with a comment. Ours is the SHA-256 of all preceding bytes. In
the same file the two stay consistent whenever the writer is killed; a separate file could be lost or outdated. The
archive's own CRC-32 of each record does not cover its directory, where one flipped bit makes torch take a record for a
folder and load whatever was in memory.
"""

import hashlib
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

_END = b"PK\x05\x06"  # begins the last record of a zip archive, which has 22 bytes without a comment
_RECORD, _MARK = 22, b"sha256:"
_TRAILER = len(_MARK) + 64
_CHUNK = 2**22
# raised by zipfile in tests on archives with flipped or missing bytes
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, OSError, OverflowError)


def with_checksum(archive: bytearray) -> bytearray:
    """Append the checksum, in place.

    Args:
        archive: a zip archive without a comment, as written by ``torch.save``.

    Raises:
        ValueError: ``archive`` is something else.
    """
    if archive[-_RECORD:][:4] != _END or archive[-2:] != b"\0\0":
        raise ValueError("only a zip archive without a comment can be given a checksum")
    archive[-2:] = struct.pack("<H", _TRAILER)
    archive += _MARK + hashlib.sha256(archive).hexdigest().encode()
    return archive


def is_sound(path: Path) -> bool:
    """Whether the file is undamaged; without our checksum, the CRC-32 of its records is checked.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TRAILER))
        trailer = file.read()
        if trailer.startswith(_MARK):
            return _digest(file, size - _TRAILER) == trailer[len(_MARK) :]
    try:
        with zipfile.ZipFile(path) as archive:
            return not archive.comment and archive.testzip() is None  # a comment would be a damaged checksum
    except _ZIP_ERRORS:
        return False


def is_packed(path: Path) -> bool:
    """Whether a zip archive expands to more bytes than the file has; torch itself stores without compression."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except _ZIP_ERRORS:
        return False  # left to `is_sound`
    stored = all(record.compress_type == zipfile.ZIP_STORED for record in records)
    return not stored or sum(record.file_size for record in records) > path.stat().st_size


def _digest(file: BinaryIO, size: int) -> bytes:
    """Hash of the first ``size`` bytes, read in blocks, because a checkpoint may exceed the free memory."""
    file.seek(0)
    digest = hashlib.sha256()
    while size > 0 and (piece := file.read(min(_CHUNK, size))):
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest().encode()
