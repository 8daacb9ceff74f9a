"""The data in an image file apart from its pixels, and the file without the damaged part of that data.

A decoder refuses a file because of damage in a text or in EXIF, and allocates memory for everything that a header
declares. So the container is walked first, and the decoder sees only what pixels and colours need, and sound metadata.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

MOST_DPI = 65535  # the maximum in a JPEG file

PngChunk = tuple[bytes, bytes]  # kind, body
Resolution = tuple[float, float]  # dots per inch, along x and y


@dataclass
class FileParts:
    """A walked file.

    Attributes:
        data: the file to pass to a decoder. exif: if removed from ``data``, without its six header bytes.
        icc: the colour profile, if removed from ``data``.
        colours: chunks of a PNG that define the meaning of its levels (gAMA, cHRM, cICP ...).
        dpi: if removed from ``data``. frames: number of images in the file.
        left_out: the reason for each damaged part that is left out. in_part: damaged parts that were read partially.
    """

    data: bytes
    exif: bytes | None = None
    icc: bytes | None = None
    colours: tuple[PngChunk, ...] = ()
    dpi: Resolution | None = None
    frames: int = 1
    left_out: list[str] = field(default_factory=list)
    in_part: list[str] = field(default_factory=list)


def resolution(dpi: Sequence[float] | None) -> Resolution | None:
    """The resolution declared in a header, or None if it is implausible for a photo."""
    try:
        x, y = (float(each) for each in dpi or ())
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if all(math.isfinite(each) and 1 <= each <= MOST_DPI for each in (x, y)) else None
