"""What a photo's file tells beside its pixels: EXIF (camera, time, place) and XMP.

Only what describes the photo is taken along: nothing of how the pixels lie in the file, no preview, which would show
the photo as it was, and no orientation, because pixels are turned upright when they are read.
"""

import re
import struct
import zlib
from typing import Any, Literal

from PIL import Image
from PIL.ExifTags import IFD, Base

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
_XMP_TAG = 700
# the maker's own note, in which cameras keep previews, and a table of how the pixels lie in the file
_LEFT_OUT = (IFD.MakerNote, IFD.Interop)
_HEAD_LENGTH = 8  # of a TIFF structure, which EXIF is


def of_file(file: Image.Image) -> tuple[bytes | None, bytes | None]:
    """EXIF and XMP of an opened file, None each where it has none. On damage Pillow raises nearly anything."""
    found = file.getexif()
    if file.info.get("exif") and not len(found):  # Pillow gives an empty one where it had trouble before
        raise ValueError("there is EXIF, but none of it can be read")
    return _described(found), upright(file.info.get("xmp"))


def of_tiff(data: bytes) -> tuple[bytes | None, bytes | None]:
    """The same of a TIFF file's bytes."""
    found = Image.Exif()
    found.load(data)
    xmp = found.get(_XMP_TAG)
    return _described(found), upright(bytes(xmp) if xmp is not None else None)


def upright(xmp: Any) -> bytes | None:
    """XMP without previews, whose orientation says that the pixels are upright."""
    if xmp is None:
        return None
    packet = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    packet = re.sub(rb"<(xmp|xap):Thumbnails\b.*?</\1:Thumbnails>", b"", packet, flags=re.DOTALL)
    return re.sub(rb"(tiff:Orientation(?:=[\"']|>))[1-8]", rb"\g<1>1", packet)


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
    told = kept.tobytes()
    _sized(told, (1, 1)).tobytes()  # what cannot be written again is found here, not after the work
    return told


def _sized(exif: bytes, size: tuple[int, int]) -> Image.Exif:
    """EXIF of a picture of (height, width)."""
    loaded = Image.Exif()
    loaded.load(exif)
    inside = loaded.get_ifd(IFD.Exif)
    if _WIDTH in inside:
        inside[_WIDTH], inside[_HEIGHT] = size[1], size[0]
    return loaded


def options(kind: str, exif: bytes | None, xmp: bytes | None, size: tuple[int, int]) -> dict[str, Any]:
    """What Pillow's ``save`` is given for a PNG, JPEG, TIFF or WEBP of (height, width)."""
    if exif is None and xmp is None:
        return {}
    if kind == "TIFF":
        return {"exif": _tiff_exif(exif, xmp, size)}
    given: dict[str, Any] = {} if exif is None else {"exif": _sized(exif, size)}
    if xmp is not None and kind == "PNG":
        given["pnginfo"] = _png_text(xmp)
    elif xmp is not None:
        given["xmp"] = xmp
    return given


def _png_text(xmp: bytes) -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    return info


def png_chunks(exif: bytes | None, xmp: bytes | None, size: tuple[int, int]) -> bytes:
    """An eXIf and an iTXt chunk (PNG specification, 11.3), for an encoder that writes none."""
    found = b""
    if exif is not None:
        found += chunk(b"eXIf", _sized(exif, size).tobytes().removeprefix(b"Exif\0\0"))
    if xmp is not None:
        found += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    return found


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_tiff_tags(data: bytes, exif: bytes | None, xmp: bytes | None, size: tuple[int, int]) -> bytes:
    """A little-endian TIFF file of one page with EXIF and XMP, for an encoder that writes none.

    A directory of the file's own entries and the new ones is put at the end, where the header then points to.
    """
    if exif is None and xmp is None:
        return data
    filled = bytearray(data + b"\0" * (len(data) % 2))  # a directory begins at an even place
    told = _tiff_exif(exif, xmp, size)
    told.endian = "<"
    new = told.tobytes(len(filled)).removeprefix(b"Exif\0\0")[_HEAD_LENGTH:]
    (start,) = struct.unpack_from("<I", data, 4)
    entries = sorted(_entries(data[start:]) + _entries(new), key=lambda entry: struct.unpack_from("<H", entry)[0])
    filled += new + b"\0" * (len(new) % 2)
    struct.pack_into("<I", filled, 4, len(filled))
    return bytes(filled) + struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"


def _entries(directory: bytes) -> list[bytes]:
    (count,) = struct.unpack_from("<H", directory)
    return [directory[2 + 12 * k : 14 + 12 * k] for k in range(count)]


def _tiff_exif(exif: bytes | None, xmp: bytes | None, size: tuple[int, int]) -> Image.Exif:
    found = Image.Exif() if exif is None else _sized(exif, size)
    if xmp is not None:
        found[_XMP_TAG] = xmp
    return found
