"""The format and size of an upload, from its first bytes and its header, before anything is decoded.

File names and declared types are not trusted.
"""

import io
import warnings

from PIL import Image, UnidentifiedImageError

from restore.image.formats import DECODER_ERRORS, TIFF_HEADS
from restore.web.limits import Limits, Refused

# the first bytes of each format that is read
_SIGNATURES = {
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".tif": TIFF_HEADS,
    ".bmp": (b"BM",),
}
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF", ".bmp": "BMP", ".webp": "WEBP"}

# also shown by the page, before it sends what would be refused
TOO_LARGE = "the file has {mb} MB, expected at most {most}; make it smaller"
TOO_LONG = "the image has {width}x{height} px, expected at most {most} on each side; shrink it first"


def sniff(data: bytes) -> str:
    """The suffix of the image's format.

    Raises:
        Refused: not an image of a format that is read.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    for suffix, signatures in _SIGNATURES.items():
        if data.startswith(signatures):
            return suffix
    raise Refused(415, "the file is not a PNG, JPEG, TIFF, WebP or BMP image; save the image as one of these")


def check(data: bytes, limits: Limits) -> tuple[str, tuple[int, int] | None]:
    """Check an upload.

    Returns:
        The suffix of its format, and the (width, height) in its header; None for a TIFF that only the reader of 16-bit
        images can parse, which checks the size itself before it decodes.

    Raises:
        Refused: empty, too many bytes, not an image, or one of too many pixels.
    """
    if not data:
        raise Refused(422, "the file is empty; choose an image")
    if len(data) > limits.max_bytes:
        raise Refused(413, TOO_LARGE.format(mb=f"{len(data) / 1e6:.1f}", most=f"{limits.max_mb:g}"))
    suffix = sniff(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # max_side limits the pixels; the job's notes report other damage
            with Image.open(io.BytesIO(data), formats=[_FORMATS[suffix]]) as header:
                size = header.size
    except Image.DecompressionBombError as error:
        raise Refused(413, f"the image claims too many pixels ({error}); shrink it first") from error
    except (UnidentifiedImageError, *DECODER_ERRORS) as error:
        if suffix == ".tif":
            return suffix, None
        raise Refused(422, "the image's header is damaged; save it again") from error
    check_side(size, limits.max_side)
    return suffix, size


def check_side(size: tuple[int, int], max_side: int) -> None:
    """Refuse an image of (width, height) with a side that is too long."""
    if max(size) > max_side:
        raise Refused(413, TOO_LONG.format(width=size[0], height=size[1], most=max_side))
