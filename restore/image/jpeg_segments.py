"""The segments of a JPEG file (ISO/IEC 10918-1, annex B), and whether a file without its end marker is complete."""

import hashlib
import io
import struct
from collections.abc import Iterator

from PIL import Image
from PIL.JpegImagePlugin import MARKER

from restore.image.file_parts import FileParts

START, END = b"\xff\xd8", b"\xff\xd9"
_SOF = (0xC0, 0xC1, 0xC2)  # frame types that libjpeg decodes: baseline, extended, progressive
_SCAN = 0xDA
_JFIF, _APP1, _APP2, _PHOTOSHOP, _ADOBE, _COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE
_ICC, _EXIF, _XMP = b"ICC_PROFILE\0", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_MOST = 65533  # maximum bytes of a segment
_PADDING = 12  # zeros, so that Pillow does not read past the end of a truncated segment
MOST_EXIF = 4_000_000  # bytes

# possible data after a truncated file: differing bits, after each restart marker that might be expected
_TAILS = tuple(
    b"".join(bytes([fill]) * 24 + b"\xff" + bytes([0xD0 + k % 8]) for k in range(24)) + bytes([fill]) * 4096 + END
    for fill in (0x00, 0x5A, 0xA5)
)


def walk(data: bytes, *, keep: bool) -> FileParts:
    """The parts of a JPEG file: EXIF and the profile are removed, and data other than metadata and pixels is dropped.

    Args:
        keep: also keep IPTC.
    """
    found, pieces, profile, exif = FileParts(data), [START], list[bytes](), list[bytes]()
    scan = len(START)
    for marker, body, end in _segments(data):
        scan = end
        if marker == _APP1 and body.startswith(_EXIF):
            exif.append(body.removeprefix(_EXIF))
        elif marker == _APP2 and body.startswith(_ICC):
            profile.append(body.removeprefix(_ICC))
        elif _is_needed(marker, body, keep):
            body += bytes(_PADDING if marker == _PHOTOSHOP else 0)
            pieces.append(bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body)
    if sum(len(each) for each in exif) <= MOST_EXIF:
        found.exif = b"".join(exif) or None
    else:
        found.left_out.append("it holds too much EXIF")
    found.icc = _joined(profile)
    if profile and found.icc is None:
        found.left_out.append("its colour profile lacks a part")
    found.data = b"".join(pieces) + data[scan:]
    return found


def _is_needed(marker: int, body: bytes, keep: bool) -> bool:
    if marker == _APP1:
        return body.startswith(_XMP)  # may contain the orientation
    if marker == _PHOTOSHOP:
        return keep and len(body) <= _MOST - _PADDING
    return marker in (_JFIF, _ADOBE) or not (0xE0 <= marker <= 0xEF or marker == _COMMENT)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, body and end of each segment, up to the first scan or to an unknown structure; as lenient as Pillow.

    Bytes between two segments are skipped.
    """
    at = len(START)
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        marker = data[at + 1]
        if marker in (0x00, 0xFF):
            at += 1 + (marker == 0)
            continue
        known = MARKER.get(0xFF00 + marker)
        if marker == _SCAN or known is None:
            return
        if known[2] is None:  # a marker without a body
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(data):
            return
        yield marker, data[at + 4 : at + 2 + length], at + 2 + length
        at += 2 + length


def _joined(parts: list[bytes]) -> bytes | None:
    """The profile assembled from its numbered parts; None if one is missing."""
    numbered = {part[0]: part[2:] for part in parts if len(part) > 2}
    count = len(parts)
    if not count or sorted(numbered) != list(range(1, count + 1)) or any(part[1] != count for part in parts):
        return None
    return b"".join(numbered[k + 1] for k in range(count))


def completed(data: bytes) -> bytes | None:
    """Add the end marker to a file that lacks it; None if pixels are missing.

    Pixels are missing if the decoder reads beyond the file's end, that is, if different bits appended there change the
    decoded image. In a file with several scans, all must have begun.
    """
    cut = data.rstrip(b"\xff")
    if not _all_scans_began(cut):
        return None
    digests = {_digest(cut + tail) for tail in _TAILS}
    return cut + END if len(digests) == 1 and None not in digests else None


def _digest(data: bytes) -> bytes | None:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as file:
            return hashlib.sha256(file.tobytes()).digest()
    except (OSError, SyntaxError):
        return None


def _all_scans_began(data: bytes) -> bool:
    """Whether the last bit of every coefficient of every component is in some scan."""
    missing: dict[int, set[int]] = {}  # component -> coefficients
    at = len(START)
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        at += 1
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:
            continue
        (length,) = struct.unpack_from(">H", data, at + 1)
        body = data[at + 3 : at + 1 + length]
        if marker in _SOF and len(body) > 5:
            missing = {identity: set(range(64)) for identity in body[6 : 6 + 3 * body[5] : 3]}
        elif marker == _SCAN and len(body) >= 4 and len(body) >= 4 + 2 * body[0]:
            first, last, bits = body[-3:]
            for identity in body[1 : 1 + 2 * body[0] : 2]:
                if bits & 0xF == 0:
                    missing.get(identity, set()).difference_update(range(first, last + 1))
        at += 1 + length
    return bool(missing) and not any(missing.values())
