"""What a file holds beside its pixels, and the file without what is damaged there.

A decoder refuses a file for damage in a text or in EXIF, and takes memory for all that a header claims. So the
container is walked first, and the decoder sees what pixels and colours need, and metadata that is sound.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

MOST_DPI = 65535  # that a JPEG holds

PngChunk = tuple[bytes, bytes]  # kind, body
Resolution = tuple[float, float]  # dots per inch, along x and y


@dataclass
class FileParts:
    """A walked file.

    Attributes:
        data: the file as a decoder gets it. exif: where it was taken out of ``data``, without its six bytes of head.
        icc: the colour profile, where it was taken out of ``data``.
        colours: chunks of a PNG that say what its levels mean (gAMA, cHRM, cICP ...).
        dpi: where it was taken out of ``data``. frames: images in the file.
        left_out: why, for each part that is damaged and left out. in_part: what is damaged and could be read in part.
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
    """The resolution that a header claims; None for one that no photo has."""
    try:
        x, y = (float(each) for each in dpi or ())
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if all(math.isfinite(each) and 1 <= each <= MOST_DPI for each in (x, y)) else None
