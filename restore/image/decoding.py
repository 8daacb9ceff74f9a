"""The decoders of 8- and 16-bit image files: bytes to (H, W, C), as stored, and the colour profile."""

import io
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from restore.image.formats import TIFF_HEADS

log = logging.getLogger(__name__)

Pixels = NDArray[Any]  # uint8 or uint16, (H, W, C)


class UnsupportedKind(ValueError):
    """An undamaged file of a kind that is not supported; the message lacks the path."""


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Refuse a file whose header says (width, height) and more than ``max_pixels``."""
    width, height = size
    if width * height > max_pixels:
        raise UnsupportedKind(f"{width}x{height} px is above the limit of {max_pixels} px; shrink or split it")


def decode_8bit(file: Image.Image) -> tuple[Pixels, bytes | None]:
    """Pixels and profile of an opened 8-bit file; palettes and CMYK become RGB."""
    icc: bytes | None = file.info.get("icc_profile") or None
    converted: Image.Image = file
    if file.mode == "CMYK":
        converted, icc = _from_cmyk(file, icc), None
    elif file.mode == "PA" or "transparency" in file.info:
        converted = file.convert("LA" if file.mode in ("1", "L") else "RGBA")
    elif file.mode in ("P", "YCbCr", "RGBX"):
        converted = file.convert("RGB")
    elif file.mode == "1":
        converted = file.convert("L")
    if converted.mode not in ("L", "LA", "RGB", "RGBA"):
        raise UnsupportedKind(f"pixel mode {file.mode} is not supported; save it as 8 or 16 bit RGB or grey")
    pixels = np.array(converted)
    return pixels if pixels.ndim == 3 else pixels[..., None], icc


def _from_cmyk(file: Image.Image, icc: bytes | None) -> Image.Image:
    if icc is None:
        return file.convert("RGB")
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    try:
        converted = ImageCms.profileToProfile(file, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except ImageCms.PyCMSError as error:
        log.warning("the colour profile of a CMYK image does not fit it and is ignored (%s)", error)
        converted = None
    return converted or file.convert("RGB")


def is_16bit_png(data: bytes) -> bool:
    """Whether a file's bytes are a PNG of 16 bit."""
    return data[:4] == b"\x89PNG" and data[24:25] == b"\x10"  # the header's bit depth


def decode_16bit_png(file: Image.Image, data: bytes) -> tuple[Pixels, bytes | None]:
    """Pixels and profile of a 16-bit PNG.

    Args:
        file: opened, for its profile. data: all its bytes.
    """
    import imagecodecs  # Pillow truncates 16-bit colour to 8 bit

    pixels = np.asarray(imagecodecs.png_decode(data), dtype=np.uint16)
    return pixels if pixels.ndim == 3 else pixels[..., None], file.info.get("icc_profile") or None


def is_16bit_tiff(data: bytes) -> bool:
    """Whether a file's bytes are a TIFF of 16 bit."""
    if data[:4] not in TIFF_HEADS:
        return False
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        return bool(page.dtype == np.uint16 and page.bitspersample == 16)


def decode_16bit_tiff(data: bytes, max_pixels: int) -> tuple[Pixels, bytes | None, int]:
    """Pixels, profile and EXIF orientation (1..8) of a 16-bit TIFF's bytes.

    Raises:
        UnsupportedKind: above ``max_pixels``, or neither grey nor RGB.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        check_size((page.imagewidth, page.imagelength), max_pixels)
        if page.photometric not in (0, 1, 2):
            raise UnsupportedKind(f"16-bit TIFF of kind {page.photometric!r}; save it as RGB or grey")
        pixels = np.array(page.asarray(), dtype=np.uint16)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        elif page.planarconfig == 2:
            pixels = np.moveaxis(pixels, 0, -1)
        colours = 3 if page.photometric == 2 else 1
        expected = (page.imagelength, page.imagewidth, colours)
        if pixels.shape not in (expected, (*expected[:2], colours + 1)):
            raise UnsupportedKind(
                f"16-bit TIFF of shape {pixels.shape}, expected {expected} or one channel more for transparency"
            )
        if page.photometric == 0:  # white is zero
            pixels[..., 0] = 65535 - pixels[..., 0]
        tags = page.tags
        icc = tags["InterColorProfile"].value if "InterColorProfile" in tags else None
        return pixels, icc, tags["Orientation"].value if "Orientation" in tags else 1
