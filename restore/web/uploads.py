"""The format of an upload, from its first bytes: the server itself looks at nothing else.

File names and declared types are not trusted. Headers are read in the job's process, because a small file may claim any
number of entries and sizes.
"""

from restore.image.formats import TIFF_HEADS, format_of
from restore.web.limits import Limits, Refused

FORMATS = "PNG, JPEG, TIFF, WebP, BMP, AVIF or HEIC"
# the first bytes of formats that are known by these alone
_SIGNATURES = {
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".tif": TIFF_HEADS,
    ".bmp": (b"BM",),
}

# also shown by the page, before it sends what would be refused
TOO_LARGE = "the file has {mb} MB, expected at most {most}; make it smaller"
TOO_LONG = "the image has {width}x{height} px, expected at most {most} on each side; shrink it first"


def sniff(data: bytes) -> str:
    """The suffix of the image's format.

    Raises:
        Refused: not an image of a format that is read.
    """
    named = format_of(data)
    if named in ("WebP", "AVIF", "HEIC"):
        return f".{named.lower()}"
    for suffix, signatures in _SIGNATURES.items():
        if data.startswith(signatures):
            return suffix
    raise Refused(415, f"the file is not a {FORMATS} image; save the image as one of these")


def check(data: bytes, limits: Limits) -> str:
    """Check an upload; the suffix of its format.

    Raises:
        Refused: empty, too many bytes, or not an image.
    """
    if not data:
        raise Refused(422, "the file is empty; choose an image")
    if len(data) > limits.max_bytes:
        raise Refused(413, TOO_LARGE.format(mb=f"{len(data) / 1e6:.1f}", most=f"{limits.max_mb:g}"))
    return sniff(data)


def check_side(size: tuple[int, int], max_side: int) -> None:
    """Refuse an image of (width, height) with a side that is too long."""
    if max(size) > max_side:
        raise Refused(413, TOO_LONG.format(width=size[0], height=size[1], most=max_side))
