"""The chunks of a WebP file (RFC 9649, section 2): metadata follows the pixels, and may be truncated."""

import struct
from collections.abc import Iterator

from restore.image.file_parts import FileParts

_HEAD = 12  # bytes: RIFF, size, WEBP
_FLAGS = {b"EXIF": 0x08, b"XMP ": 0x04}  # bits in the first byte of VP8X


def walk(data: bytes) -> FileParts:
    """Keep the complete parts of a WebP file; without complete pixels, it is returned unchanged."""
    found, pieces, missing = FileParts(data), list[bytes](), 0xFF
    for kind, stored, is_whole in _chunks(data):
        if is_whole:
            pieces.append(stored)
        elif kind in _FLAGS:
            missing &= ~_FLAGS[kind]
            found.in_part.append(f"the chunk {kind.decode().strip()} is cut")
        else:
            return found
    if pieces and pieces[0][:4] == b"VP8X":
        flags = bytes([pieces[0][8] & missing])
        pieces[0] = pieces[0][:8] + flags + pieces[0][9:]
    body = b"WEBP" + b"".join(pieces)
    whole = b"RIFF" + struct.pack("<I", len(body)) + body
    if not found.in_part and whole[4:8] != data[4:8]:
        found.in_part.append("the size in its header is wrong")
    found.data = whole
    return found


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Kind and data of each chunk, and whether it is complete."""
    at = _HEAD
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        stored = data[at : at + 8 + size]
        yield kind, stored + b"\0" * (size % 2), len(stored) == 8 + size
        at += 8 + size + size % 2
