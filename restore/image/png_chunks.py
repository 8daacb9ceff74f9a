"""The chunks of a PNG file (PNG specification, chapter 11).

Critical chunks and transparency stay as they are. The colour profile and other chunks that define the meaning of the
levels are removed and returned, metadata stays if Pillow can read it, and all other chunks are dropped.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

from restore.image.file_parts import FileParts, PngChunk, Resolution, resolution
from restore.image.formats import DECODER_ERRORS

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = {b"cICP": 4, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"mDCV": 24, b"cLLI": 8}  # bytes of a valid chunk
_AS_SRGB = {
    b"sRGB": tuple(bytes([intent]) for intent in range(4)),
    b"gAMA": (struct.pack(">I", 45455),),
    b"cHRM": (struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),),
    b"cICP": (bytes([1, 13, 0, 1]),),
}
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_ORIENTING = (b"XML:com.adobe.xmp", b"Raw profile type exif")  # texts that may contain the orientation
_METRE = 0.0254  # metres per inch
MOST_PROFILE = 32_000_000  # bytes
MOST_TEXT = 16_000_000  # bytes of all texts
MOST_TEXTS = 1000


class _Chunk(NamedTuple):
    kind: bytes
    stored: memoryview  # the whole chunk, with length and checksum

    @property
    def is_critical(self) -> bool:
        return not self.kind[:1].islower()

    @property
    def body(self) -> bytes:
        return bytes(self.stored[8:-4])

    @property
    def is_sound(self) -> bool:
        return bool(struct.unpack(">I", self.stored[-4:])[0] == zlib.crc32(self.stored[4:-4]))


def chunk(kind: bytes, body: bytes) -> bytes:
    """Build a chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def resolution_body(dpi: Resolution) -> bytes:
    """Build the body of a pHYs chunk."""
    return struct.pack(">IIB", *(round(each / _METRE) for each in dpi), 1)


def is_srgb(colours: tuple[PngChunk, ...]) -> bool:
    """Whether these chunks only state sRGB, the default of readers."""
    return all(body in _AS_SRGB.get(kind, ()) for kind, body in colours)


def walk(data: bytes, *, keep: bool) -> FileParts:
    """The parts of a PNG file.

    Args:
        keep: also keep texts that Pillow can read; otherwise only those that may contain the orientation.
    """
    found, critical, texts, colours = FileParts(data), list[_Chunk](), _Texts(data[8:33]), dict[bytes, bytes]()
    for each in _chunks(memoryview(data)):
        if each.is_critical:
            critical.append(each)
        elif not each.is_sound:
            found.left_out.append(f"the chunk {each.kind.decode('latin-1')} has a wrong checksum")
        elif each.kind == b"tRNS":
            critical.append(each)
        elif each.kind in COLOURS and len(each.body) == COLOURS[each.kind]:
            colours[each.kind] = each.body
        elif each.kind == b"iCCP":
            found.icc = _profile(each.body)
            found.left_out += [] if found.icc else ["its colour profile cannot be read"]
        elif each.kind == b"pHYs":
            found.dpi = _dpi(each.body)
        elif each.kind == b"acTL" and len(each.body) == 8:
            found.frames = max(1, *struct.unpack(">II", each.body)[:1])
        elif each.kind == b"eXIf" or (each.kind in _TEXTS and (keep or each.body.startswith(_ORIENTING))):
            found.left_out += texts.take(each)
    found.colours = tuple(colours.items())
    first, rest = critical[:1], critical[1:]
    found.data = SIGNATURE + b"".join(each.stored for each in (*first, *texts.taken, *rest))
    return found


def _chunks(data: memoryview) -> Iterator[_Chunk]:
    """The chunks up to the end marker or the end of the data; a critical one may be truncated there."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found = _Chunk(bytes(data[at + 4 : at + 8]), data[at : at + 12 + length])
        if len(found.stored) == 12 + length or found.is_critical:
            yield found
        if found.kind == b"IEND":
            return
        at += 12 + length


def _profile(body: bytes) -> bytes | None:
    """The profile in an iCCP chunk; None if it is invalid."""
    name, _, packed = body.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(packed[1:], MOST_PROFILE)
    except zlib.error:
        return None
    sound = inflate.eof and packed[:1] == b"\0" and len(name) < 80 and profile[36:40] == b"acsp"
    return profile if sound else None


def _dpi(body: bytes) -> Resolution | None:
    if len(body) != 9 or body[8] != 1:  # unit 0 is only an aspect ratio
        return None
    x, y = struct.unpack_from(">II", body)
    return resolution((x * _METRE, y * _METRE))


class _Texts:
    """Checks texts and EXIF with Pillow's own reader, one at a time, so that a damaged one does not affect the others.

    Args:
        header: the IHDR chunk.
    """

    def __init__(self, header: bytes) -> None:
        self.around = SIGNATURE + header, chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        self.taken: list[_Chunk] = []
        self.size = 0

    def take(self, each: _Chunk) -> list[str]:
        """Keep the chunk, or return why it is left out."""
        keyword = each.body.partition(b"\0")[0][:40].decode("latin-1")
        if len(self.taken) >= MOST_TEXTS or self.size > MOST_TEXT:
            return ["it holds too many texts"]
        before, after = self.around
        try:
            with Image.open(io.BytesIO(before + each.stored + after), formats=["PNG"]) as file:
                texts = [value for value in file.info.values() if isinstance(value, str | bytes)]
                self.size += len(each.stored) + sum(len(value) for value in texts)
        except (*DECODER_ERRORS, Image.DecompressionBombError) as error:
            return [f"the text {keyword!r}: {error}"]
        self.taken.append(each)
        return []
