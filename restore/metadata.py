"""What a photo's file tells beside its pixels: EXIF (camera, time, place) and XMP.

Only what describes the photo is taken along: nothing of how the pixels lie in the file, no preview, which would show
the photo as it was, and no orientation, because pixels are turned upright when they are read.
"""

import io
import re
import struct
import zlib
from typing import Any

from PIL import Image, TiffImagePlugin
from PIL.ExifTags import IFD, Base

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
_HEAD = b"II\x2a\x00\x08\x00\x00\x00"  # of a little-endian TIFF structure, which EXIF is


def of_file(file: Image.Image) -> tuple[bytes | None, bytes | None]:
    """EXIF and XMP of an opened file, None each where it has none."""
    return _described(file.getexif()), upright(file.info.get("xmp"))


def of_tiff(data: bytes) -> tuple[bytes | None, bytes | None]:
    """The same of a TIFF file's bytes."""
    found = Image.Exif()
    found.load(data)
    xmp = found.get(_XMP_TAG)
    return _described(found), upright(bytes(xmp) if xmp is not None else None)


def upright(xmp: Any) -> bytes | None:
    """XMP whose orientation says that the pixels are upright."""
    if xmp is None:
        return None
    packet = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    return re.sub(rb"(tiff:Orientation(?:=[\"']|>))[1-8]", rb"\g<1>1", packet)


def _described(found: Image.Exif) -> bytes | None:
    kept = Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in found:
            kept[tag] = found[tag]
    for part in _PARTS:
        inside = found.get_ifd(part)
        if inside:
            kept.get_ifd(part).update(inside)
    return kept.tobytes() if len(kept) or any(kept.get_ifd(part) for part in _PARTS) else None


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
    given: dict[str, Any] = {}
    if exif is not None:
        given["exif"] = _sized(exif, size)
    if xmp is not None and kind == "PNG":
        given["pnginfo"] = _png_text(xmp)
    elif xmp is not None and kind == "TIFF":
        given["tiffinfo"] = {_XMP_TAG: xmp}
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


def tiff_tags(exif: bytes | None, xmp: bytes | None, size: tuple[int, int]) -> list[tuple[Any, ...]]:
    """What tifffile's ``imwrite`` is given as ``extratags``; :func:`fill_tiff` must follow."""
    found: list[tuple[Any, ...]] = []
    if xmp is not None:
        found.append((_XMP_TAG, "B", len(xmp), xmp, True))
    if exif is not None:
        loaded = _sized(exif, size)
        texts = {tag: value for tag, value in loaded.items() if isinstance(value, str)}
        found += [(int(tag), "s", 0, value, True) for tag, value in texts.items()]
        found += [(int(part), "I", 1, 0, True) for part in _PARTS if loaded.get_ifd(part)]
    return found


def fill_tiff(data: bytes, exif: bytes | None, size: tuple[int, int]) -> bytes:
    """Put EXIF's parts at the end of a little-endian TIFF file whose tags for them are still zero."""
    import tifffile

    if exif is None:
        return data
    loaded, filled = _sized(exif, size), bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        places = {part: tiff.pages.first.tags[int(part)].valueoffset for part in _PARTS if loaded.get_ifd(part)}
    for part, place in places.items():
        filled += b"\0" * (len(filled) % 2)  # a structure begins at an even place
        directory = TiffImagePlugin.ImageFileDirectory_v2(_HEAD, group=int(part))
        for tag, value in loaded.get_ifd(part).items():
            directory[tag] = value
        struct.pack_into("<I", filled, place, len(filled))
        filled += directory.tobytes(len(filled))
    return bytes(filled)
