"""Decodes image files with Pillow, and 16-bit PNGs, to (H, W, C) as stored, with the other data in the file."""

import io
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError, features
from PIL.ExifTags import IFD, Base

from restore.image import jpeg_segments, metadata, tiff_directories
from restore.image.file_parts import FileParts, PngChunk, Resolution, resolution
from restore.image.formats import DECODER_ERRORS, PILLOW_NAMES, format_of
from restore.image.metadata import Description

log = logging.getLogger(__name__)

Pixels = NDArray[Any]  # uint8 or uint16, (H, W, C)
_T = TypeVar("_T")

_EXIF_HEAD = b"Exif\0\0"
_FOREIGN_EXIF = "Raw profile type exif"  # PNG text with hexadecimal EXIF after three header lines
_PER_INCH = {2: 1.0, 3: 2.54}  # resolution unit -> dots per inch for one dot per unit
_ADOBE_RGB, _INTEROPERABILITY_INDEX, _OPTION_FILE = 2, 1, "R03"


class UnsupportedKind(ValueError):
    """An undamaged file of an unsupported kind; the message does not contain the path."""


class TooManyPixels(UnsupportedKind):
    """The header declares more pixels than allowed; ``size`` is (width, height)."""

    def __init__(self, size: tuple[int, int], sentence: str) -> None:
        super().__init__(sentence)
        self.size = size


@dataclass(frozen=True)
class Decoded:
    """The contents of a decoded file.

    Attributes:
        pixels: uint8 or uint16, (H, W, 1 to 4), transparency last. icc: the colour profile.
        orientation: EXIF orientation, 1 to 8. dpi, colours, description: see ``DecodedImage``.
        frames: number of images in the file, of which this is the first.
        extra: samples per pixel that were left out. adobe_rgb: only EXIF declares this colour space.
    """

    pixels: Pixels
    icc: bytes | None = None
    orientation: int = 1
    dpi: Resolution | None = None
    colours: tuple[PngChunk, ...] = ()
    description: Description = field(default_factory=Description)
    frames: int = 1
    extra: int = 0
    adobe_rgb: bool = False

    def losses(self) -> list[str]:
        """Information in a sound file that is not in the pixels, in words."""
        lost = [f"holds {self.frames} frames, the first one is taken"] if self.frames > 1 else []
        if self.extra:
            lost.append(
                f"holds {self.extra} more samples per pixel, which the file does not declare as transparency: left out"
            )
        if self.adobe_rgb and self.icc is None:
            lost.append("its EXIF says Adobe RGB, but no profile is embedded; the result will be treated as sRGB")
        return lost


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Refuse a file whose header declares a (width, height) with more than ``max_pixels`` pixels."""
    width, height = size
    if width * height > max_pixels:
        raise TooManyPixels(size, f"{width}x{height} px is above the limit of {max_pixels} px; shrink or split it")


def decode(parts: FileParts, max_pixels: int, *, keep: bool) -> Decoded:
    """Decode a file.

    Args:
        parts: the walked file; further damage is added to it. keep: also read metadata.

    Raises:
        UnsupportedKind: more than ``max_pixels``, or an unsupported kind of pixels. Pillow raises other errors.
    """
    try:
        return _with_pillow(parts, max_pixels, keep)
    except UnidentifiedImageError:
        raise
    except OSError:
        whole = jpeg_segments.completed(parts.data) if parts.data.startswith(jpeg_segments.START) else None
        if whole is None:
            raise
        parts.in_part.append("its end marker is missing")
        return _with_pillow(replace(parts, data=whole), max_pixels, keep)


def undamaged(parts: FileParts, read: Callable[[], _T], otherwise: _T) -> _T:
    """Read metadata; return ``otherwise`` if it is damaged, because the image can be read nevertheless."""
    try:
        return read()
    except (*DECODER_ERRORS, AttributeError) as error:
        parts.left_out.append(str(error) or type(error).__name__)
        return otherwise


def _with_pillow(parts: FileParts, max_pixels: int, keep: bool) -> Decoded:
    with _opened(parts.data) as file:
        check_size(file.size, max_pixels)
        frames = max(parts.frames, getattr(file, "n_frames", 1) if file.format in ("WEBP", "AVIF", "HEIF") else 1)
        is_16bit = _is_16bit_png(parts.data)
        if not is_16bit:
            file.load()  # turns a TIFF upright, and resets its orientation
        if file.format != "TIFF":
            _limit_exif(file, parts)
        orientation = undamaged(parts, lambda: file.getexif().get(Base.Orientation, 1), 1)
        dpi = parts.dpi or undamaged(parts, lambda: _resolution(file), None)
        adobe_rgb = undamaged(parts, lambda: _says_adobe_rgb(file), False)
        description = undamaged(parts, lambda: metadata.of_file(file), Description()) if keep else Description()
        pixels, icc = (_decode_16bit_png(parts.data), parts.icc) if is_16bit else _decode_8bit(file, parts.icc)
        return Decoded(pixels, icc, orientation, dpi, parts.colours, description, frames, 0, adobe_rgb)


def _opened(data: bytes) -> Image.Image:
    """Open a file with Pillow itself, or with its plugin for HEIC.

    Raises:
        UnsupportedKind: HEIC or AVIF for which this machine has no decoder.
    """
    kind = format_of(data)
    if kind == "HEIC":
        register_heic()
        return Image.open(io.BytesIO(data), formats=("HEIF",))
    if kind == "AVIF" and not features.check("avif"):
        raise UnsupportedKind("an AVIF, which this build of Pillow cannot read; install pillow from its wheel")
    return Image.open(io.BytesIO(data), formats=PILLOW_NAMES)


def register_heic() -> None:
    """Make Pillow read and write HEIC.

    Raises:
        UnsupportedKind: the plugin is not installed.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise UnsupportedKind("a HEIC, which needs the package pillow-heif; pip install 'restore[heic]'") from error
    pillow_heif.register_heif_opener()


def _limit_exif(file: Image.Image, parts: FileParts) -> None:
    """Limit the EXIF data that Pillow sees to entries that fit into its own bytes."""
    exif = parts.exif or file.info.get("exif")
    with suppress(ValueError):  # Pillow itself refuses data that is not EXIF
        if exif is None and _FOREIGN_EXIF in file.info:
            exif = bytes.fromhex("".join(str(file.info[_FOREIGN_EXIF]).split("\n")[3:]))
        if exif is not None:
            file.info["exif"] = exif
            found = tiff_directories.walk(exif.removeprefix(_EXIF_HEAD))
            file.info["exif"] = _EXIF_HEAD + found.data
            parts.in_part.extend(found.damage)


def _resolution(file: Image.Image) -> Resolution | None:
    """The resolution in the header, or else in EXIF."""
    stated = resolution(file.info.get("dpi"))
    exif = file.getexif()
    if stated is None and exif.get(Base.ResolutionUnit, 2) in _PER_INCH:
        unit = _PER_INCH[exif.get(Base.ResolutionUnit, 2)]
        sides = [exif.get(Base.XResolution), exif.get(Base.YResolution)]
        return None if None in sides else resolution([float(side) * unit for side in sides if side is not None])
    return stated


def _says_adobe_rgb(file: Image.Image) -> bool:
    """Whether EXIF declares Adobe RGB, as for camera files without a profile (DCF 2.0, 3.3.5)."""
    exif = file.getexif()
    inside = exif.get_ifd(IFD.Exif)
    if inside.get(Base.ColorSpace) == _ADOBE_RGB:
        return True
    return IFD.Interop in inside and exif.get_ifd(IFD.Interop).get(_INTEROPERABILITY_INDEX) == _OPTION_FILE


def _decode_8bit(file: Image.Image, icc: bytes | None) -> tuple[Pixels, bytes | None]:
    """Pixels and profile of a loaded 8-bit file; palettes and CMYK become RGB, CMYK by means of its profile."""
    icc = icc or file.info.get("icc_profile") or None
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
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        converted = ImageCms.profileToProfile(file, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:  # OSError: not a valid profile
        log.warning("the colour profile of a CMYK image does not fit it and is ignored (%s)", error)
        converted = None
    return converted or file.convert("RGB")


def _is_16bit_png(data: bytes) -> bool:
    """Whether the data is a 16-bit PNG."""
    return data[:4] == b"\x89PNG" and data[24:25] == b"\x10"  # bit depth in the header


def _decode_16bit_png(data: bytes) -> Pixels:
    import imagecodecs  # Pillow reduces 16-bit colour to 8 bits

    pixels = np.asarray(imagecodecs.png_decode(data), dtype=np.uint16)
    return pixels if pixels.ndim == 3 else pixels[..., None]
