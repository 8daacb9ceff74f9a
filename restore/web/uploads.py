"""The format of an upload, from its first bytes; the server process reads nothing else of it.

File names and declared types are not trusted. Headers are parsed in the job's process, because even a small file may
claim any number of entries and any sizes.
"""

from restore.image.formats import TIFF_HEADS, format_of
from restore.web.limits import Limits, Refused

FORMATS = "PNG, JPEG, TIFF, WebP, BMP, AVIF or HEIC"
# first bytes that identify a format
_SIGNATURES = {
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".tif": TIFF_HEADS,
    ".bmp": (b"BM",),
}

# also used by the page, before it uploads a file that would be refused
TOO_LARGE = "the file has {mb} MB, expected at most {most}; make it smaller"
TOO_LONG = "the image has {width}x{height} px, expected at most {most} on each side; shrink it first"


def sniff(data: bytes) -> str:
    """The suffix of the image's format.

    Raises:
        Refused: the data is not in a supported image format.
    """
    named = format_of(data)
    if named in ("WebP", "AVIF", "HEIC"):
        return f".{named.lower()}"
    for suffix, signatures in _SIGNATURES.items():
        if data.startswith(signatures):
            return suffix
    raise Refused(415, f"the file is not a {FORMATS} image; save the image as one of these")


def check(data: bytes, limits: Limits) -> str:
    """Check an upload, and return the suffix of its format.

    Raises:
        Refused: the upload is empty, too large, or not an image.
    """
    if not data:
        raise Refused(422, "the file is empty; choose an image")
    if len(data) > limits.max_bytes:
        raise Refused(413, TOO_LARGE.format(mb=f"{len(data) / 1e6:.1f}", most=f"{limits.max_mb:g}"))
    return sniff(data)


def check_side(size: tuple[int, int], max_side: int) -> None:
    """Refuse an image of (width, height) with too long a side."""
    if max(size) > max_side:
        raise Refused(413, TOO_LONG.format(width=size[0], height=size[1], most=max_side))
