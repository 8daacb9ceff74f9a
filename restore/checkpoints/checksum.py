"""A checksum inside a checkpoint file, so that damage is detected: torch silently loads weights with flipped bits.

A checkpoint is a zip archive, and a zip archive may end in a comment. Ours is the SHA-256 of all bytes before it.
Inside the file the two stay together at whatever moment the writer is killed; a second file could be lost or be older.
The CRC-32 that the archive has of every record leaves its directory uncovered, where one flipped bit makes torch take a
record for a folder and load whatever was in memory.
"""

import hashlib
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

_END = b"PK\x05\x06"  # opens the last record of a zip archive, 22 bytes without a comment
_RECORD, _MARK = 22, b"sha256:"
_TRAILER = len(_MARK) + 64
_CHUNK = 2**22
# what zipfile was seen to raise on archives with flipped or missing bytes
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, OSError, OverflowError)


def with_checksum(archive: bytearray) -> bytearray:
    """Append the checksum, in place.

    Args:
        archive: a zip archive without a comment, as ``torch.save`` makes it.

    Raises:
        ValueError: it is something else.
    """
    if archive[-_RECORD:][:4] != _END or archive[-2:] != b"\0\0":
        raise ValueError("only a zip archive without a comment can be given a checksum")
    archive[-2:] = struct.pack("<H", _TRAILER)
    archive += _MARK + hashlib.sha256(archive).hexdigest().encode()
    return archive


def is_sound(path: Path) -> bool:
    """Whether the file is what was written; one without our checksum is compared with the CRC-32 of its records.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TRAILER))
        trailer = file.read()
        if trailer.startswith(_MARK):
            return _digest(file, size - _TRAILER) == trailer[len(_MARK) :]
    try:
        with zipfile.ZipFile(path) as archive:
            return not archive.comment and archive.testzip() is None  # a comment is the rest of a checksum
    except _ZIP_ERRORS:
        return False


def is_packed(path: Path) -> bool:
    """Whether a zip archive says more bytes than the file has: torch stores what it writes without compression."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except _ZIP_ERRORS:
        return False  # left to `is_sound`
    stored = all(record.compress_type == zipfile.ZIP_STORED for record in records)
    return not stored or sum(record.file_size for record in records) > path.stat().st_size


def _digest(file: BinaryIO, size: int) -> bytes:
    """Of the first ``size`` bytes, read in pieces: a checkpoint may be larger than the free memory."""
    file.seek(0)
    digest = hashlib.sha256()
    while size > 0 and (piece := file.read(min(_CHUNK, size))):
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest().encode()
