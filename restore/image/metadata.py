"""Metadata of a photo: EXIF (camera, time, location), XMP, IPTC and the texts of a PNG.

Only data that describes the photo is kept: nothing about the storage of the pixels, no preview (it would show the
photo before restoration), and no orientation, because photos are rotated upright when they are read.
"""

import re
import struct
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

from restore.image.png_chunks import chunk

Metadata = Literal["strip", "keep"]

_DESCRIPTIVE = (
    Base.ImageDescription,
    Base.Make,
    Base.Model,
    Base.Software,
    Base.DateTime,
    Base.Artist,
    Base.HostComputer,
    Base.Copyright,
    Base.XPTitle,
    Base.XPComment,
    Base.XPAuthor,
    Base.XPKeywords,
    Base.XPSubject,
    Base.Rating,
)
_PARTS = (IFD.Exif, IFD.GPSInfo)
_WIDTH, _HEIGHT = Base.ExifImageWidth, Base.ExifImageHeight
_XMP_TAG, _IPTC_TAG = 700, 33723
_IPTC_BLOCK = 0x0404  # number of its Photoshop block in a JPEG
_XMP_TEXT = "XML:com.adobe.xmp"  # keyword of a PNG text with XMP
_OTHER_PROGRAMS = "Raw profile type "  # prefix of PNG texts that repeat EXIF or a colour profile
# the camera maker's note, which contains previews, and a table about the storage of the pixels
_LEFT_OUT = (IFD.MakerNote, IFD.Interop)
_HEAD_LENGTH = 8  # bytes of the TIFF header with which EXIF begins


@dataclass(frozen=True)
class Description:
    """The metadata that is kept, each part as stored in a file, or None.

    Attributes:
        exif: with its six header bytes. xmp: the packet. iptc: IIM records. texts: (keyword, text) pairs of a PNG.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()

    def left_out(self, suffix: str) -> list[str]:
        """Names of the parts that a format cannot hold, if it can hold others."""
        lost = ["IPTC"] if self.iptc and suffix in (".png", ".webp", ".avif", ".heic") else []
        return lost + (["a PNG's texts"] if self.texts and suffix != ".png" else [])


def of_file(file: Image.Image) -> Description:
    """The metadata of an opened file. For damaged data, Pillow may raise almost any exception."""
    found = file.getexif()
    if file.info.get("exif") and not len(found):  # Pillow returns empty EXIF after an earlier error
        raise ValueError("there is EXIF, but none of it can be read")
    iptc = file.info.get("photoshop", {}).get(_IPTC_BLOCK)
    return Description(_described(found), upright(file.info.get("xmp")), iptc, _texts(file))


def of_tiff(data: bytes) -> Description:
    """The metadata of a TIFF file, from its bytes."""
    found = Image.Exif()
    found.load(data)
    xmp, iptc = found.get(_XMP_TAG), found.get(_IPTC_TAG)
    if isinstance(iptc, tuple):  # some programs declare the bytes as a list of numbers
        iptc = struct.pack(f"{'<' if data[:2] == b'II' else '>'}{len(iptc)}I", *iptc)
    return Description(_described(found), upright(bytes(xmp) if xmp is not None else None), iptc)


def _texts(file: Image.Image) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = getattr(file, "text", {})  # only PNG files have texts
    return tuple((key, text) for key, text in found.items() if key != _XMP_TEXT and not key.startswith(_OTHER_PROGRAMS))


def upright(xmp: Any) -> bytes | None:
    """XMP without previews, with the orientation set to upright."""
    if xmp is None:
        return None
    packet = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    for prefix in (b"xmp", b"xap"):
        packet = _without(packet, b"<" + prefix + b":Thumbnails", b"</" + prefix + b":Thumbnails>")
    return re.sub(rb"(tiff:Orientation(?:=[\"']|>))[1-8]", rb"\g<1>1", packet)


def _without(text: bytes, first: bytes, last: bytes) -> bytes:
    """Remove the text between two words; in linear time, unlike a regular expression."""
    pieces, at = [], 0
    while (start := text.find(first, at)) >= 0 and (end := text.find(last, start)) >= 0:
        pieces.append(text[at:start])
        at = end + len(last)
    return b"".join([*pieces, text[at:]])


def _described(found: Image.Exif) -> bytes | None:
    kept = Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in found:
            kept[tag] = found[tag]
    for part in _PARTS:
        inside = {tag: value for tag, value in found.get_ifd(part).items() if tag not in _LEFT_OUT}
        if inside:
            kept.get_ifd(part).update(inside)
    if not len(kept) and not any(kept.get_ifd(part) for part in _PARTS):
        return None
    exif = kept.tobytes()
    _sized(exif, (1, 1)).tobytes()  # an error in writing it shows up here, not after the restoration
    return exif


def _sized(exif: bytes, size: tuple[int, int]) -> Image.Exif:
    """EXIF with the size of an image, (height, width)."""
    loaded = Image.Exif()
    loaded.load(exif)
    inside = loaded.get_ifd(IFD.Exif)
    if _WIDTH in inside:
        inside[_WIDTH], inside[_HEIGHT] = size[1], size[0]
    return loaded


def options(kind: str, description: Description, size: tuple[int, int]) -> dict[str, Any]:
    """Arguments of Pillow's ``save`` for a PNG, JPEG, TIFF, WEBP, BMP, AVIF or HEIF image of (height, width)."""
    if kind == "BMP":
        return {}
    if kind == "TIFF":
        found = _tiff_exif(description, size)
        return {"exif": found} if len(found) or description.exif else {}
    given: dict[str, Any] = {} if description.exif is None else {"exif": _sized(description.exif, size)}
    if kind == "PNG":
        given["pnginfo"] = _png_info(description)
    elif description.xmp is not None:
        given["xmp"] = description.xmp
    return given


def _png_info(description: Description) -> PngInfo:
    info = PngInfo()
    if description.xmp is not None:
        info.add_itxt(_XMP_TEXT, description.xmp.decode("utf-8", "replace"))
    for keyword, text in description.texts:
        info.add_text(keyword, text)
    return info


def png_chunks(description: Description, size: tuple[int, int]) -> bytes:
    """The eXIf chunk and text chunks (PNG specification, 11.3), for an encoder that writes no metadata."""
    found = b""
    if description.exif is not None:
        found += chunk(b"eXIf", _sized(description.exif, size).tobytes().removeprefix(b"Exif\0\0"))
    return found + b"".join(chunk(kind, body) for kind, body, *_ in _png_info(description).chunks)


def with_iptc(jpeg: bytes, iptc: bytes | None) -> bytes:
    """Add IPTC to a JPEG file in its own segment (APP13, a Photoshop block), for an encoder without IPTC."""
    if iptc is None:
        return jpeg
    block = (
        b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", _IPTC_BLOCK, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    )
    (length,) = struct.unpack_from(">H", jpeg, 4)  # length of the first segment, which must remain first
    return jpeg[: 4 + length] + b"\xff\xed" + struct.pack(">H", 2 + len(block)) + block + jpeg[4 + length :]


def with_tiff_tags(data: bytes, description: Description, size: tuple[int, int]) -> bytes:
    """Add EXIF, XMP and IPTC to a little-endian single-page TIFF file, for an encoder that writes no metadata.

    A directory with the file's existing entries and the new ones is appended, and the header points to it.
    """
    if description == Description():
        return data
    filled = bytearray(data + b"\0" * (len(data) % 2))  # directories start at even offsets
    found = _tiff_exif(description, size)
    found.endian = "<"
    new = found.tobytes(len(filled)).removeprefix(b"Exif\0\0")[_HEAD_LENGTH:]
    (start,) = struct.unpack_from("<I", data, 4)
    entries = sorted(_entries(data[start:]) + _entries(new), key=lambda entry: struct.unpack_from("<H", entry)[0])
    filled += new + b"\0" * (len(new) % 2)
    struct.pack_into("<I", filled, 4, len(filled))
    return bytes(filled) + struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"


def _entries(directory: bytes) -> list[bytes]:
    (count,) = struct.unpack_from("<H", directory)
    return [directory[2 + 12 * k : 14 + 12 * k] for k in range(count)]


def _tiff_exif(description: Description, size: tuple[int, int]) -> Image.Exif:
    found = Image.Exif() if description.exif is None else _sized(description.exif, size)
    for tag, value in ((_XMP_TAG, description.xmp), (_IPTC_TAG, description.iptc)):
        if value is not None:
            found[tag] = value
    return found
