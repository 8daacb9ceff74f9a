"""Picture files to tensors and back: the only file that knows file formats.

A photo comes in turned upright, with its transparency split off and its colour profile, greyness and bit depth kept
in mind, and goes out as the same kind of picture. Inside the package an image is float, RGB, CHW, [0, 1].
"""

import io
import logging
import os
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from torch import Tensor

from restore import metadata

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
MAX_PIXELS = 150_000_000  # a file that claims more is refused before it is decoded (a "decompression bomb")

_LONGEST_SIDE = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}  # px, of libwebp and libjpeg
_JPEG_SEGMENT = 65533  # bytes of EXIF or XMP that a JPEG file holds at most
_XMP_NAME = 29  # bytes that an XMP segment begins with

Metadata = Literal["strip", "keep"]

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how one begins
_ORIENTATION_TAG = 0x0112
_AT_ONCE = 2**22  # values that are rounded at once
_INDEX_MODES = ("P", "L", "1")
_T = TypeVar("_T")
_NOTHING: tuple[bytes | None, bytes | None] = (None, None)
_Pixels = NDArray[Any]  # uint8 or uint16, (H, W, C)
# what Pillow, tifffile and imagecodecs were seen to raise on files with flipped or missing bytes
_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    RuntimeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)


class _Refused(ValueError):
    """A sound file of a kind we do not take; the message lacks the path."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture file.

    Attributes:
        pixels: uint8 or uint16, (C, H, W) with 3 channels (RGB) or 1 (grey).
        alpha: same dtype, (1, H, W), or None when the file has no transparency.
        icc: the embedded colour profile, or None.
        exif, xmp: what the file tells of the photo, where :func:`read` was asked for it; written with the pixels.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    @property
    def is_grey(self) -> bool:
        """Whether the file has one channel of brightness only."""
        return self.pixels.shape[0] == 1

    @property
    def peak(self) -> int:
        """The level of white: 255 for an 8-bit file, 65535 for a 16-bit one."""
        return 65535 if self.pixels.dtype == torch.uint16 else 255

    @property
    def kind(self) -> str:
        """Its colours and depth in words, such as ``grey, 8 bit``."""
        alpha = " with transparency" if self.alpha is not None else ""
        return f"{'grey' if self.is_grey else 'colour'}{alpha}, {16 if self.peak > 255 else 8} bit"

    def rgb(self) -> Tensor:
        """Float32, (3, H, W), [0, 1]; grey is repeated three times."""
        return to_float(self.pixels).expand(3, -1, -1)

    def rgb8(self) -> Tensor:
        """uint8, (3, H, W); 16 bit is rounded to 8, grey is repeated three times."""
        pixels = _quantise(to_float(self.pixels), 255) if self.peak > 255 else self.pixels
        return torch.as_tensor(pixels).expand(3, -1, -1)

    def like(self, rgb: Tensor | Iterable[Tensor], alpha: Tensor | None) -> "Picture":
        """A picture of this one's kind (bit depth, greyness, profile) from other pixels.

        Args:
            rgb: float, (3, H, W), or bands of it from top to bottom, so that it need never be held whole; clamped to
                [0, 1] and rounded; a grey picture takes the mean of the channels.
            alpha: float, (1, H, W), or None.
        """
        bands = (rgb,) if isinstance(rgb, Tensor) else rgb
        parts = []
        for band in bands:
            parts.append(_quantise(band.mean(0, keepdim=True) if self.is_grey else band, self.peak))
            del band  # else it would live while the next one is made
        pixels = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return replace(self, pixels=pixels, alpha=_quantise(alpha, self.peak))


def picture(rgb: Tensor) -> Picture:
    """An 8-bit colour picture from float (3, H, W); clamped to [0, 1] and rounded."""
    return Picture(_quantise(rgb, 255))


def to_float(pixels: Tensor) -> Tensor:
    """uint8 or uint16 of any shape to float32 in [0, 1]."""
    return pixels.to(torch.float32) / (65535 if pixels.dtype == torch.uint16 else 255)


def _quantise(image: Any, peak: int) -> Any:
    if image is None:
        return None
    levels = torch.empty(image.shape, dtype=torch.uint16 if peak > 255 else torch.uint8)
    rows = max(1, _AT_ONCE // max(1, image.shape[0] * image.shape[2]))  # float64 is large
    for top in range(0, image.shape[1], rows):
        band = image[:, top : top + rows].detach().to("cpu", torch.float64).clamp(0, 1).mul(peak).add(0.5).floor()
        levels[:, top : top + rows] = band.to(torch.int32).to(levels.dtype)
    return levels


def read(path: str | Path, *, max_pixels: int = MAX_PIXELS, metadata: Metadata = "strip") -> Picture:
    """Read a PNG, JPEG, TIFF, WebP or BMP file, turned upright by its EXIF orientation.

    Palette and CMYK files become RGB; the first frame of an animation is taken, with a warning.

    Args:
        metadata: ``keep`` takes EXIF and XMP along, see :mod:`restore.metadata`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture, truncated, of an unsupported kind, or above ``max_pixels``; the path is named.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # max_pixels decides
            return _decode(path.read_bytes(), path, max_pixels, metadata)
    except _Refused as error:
        raise ValueError(f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}; shrink or split the picture first") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not a PNG, JPEG, TIFF, WebP or BMP picture") from error
    except _DECODER_ERRORS as error:
        raise ValueError(f"{path}: damaged or truncated picture ({error})") from error


def read_rgb8(path: str | Path) -> Tensor:
    """Read a picture as training data: uint8, (3, H, W); transparency dropped, 16 bit rounded to 8."""
    return read(path).rgb8()


def read_labels(path: str | Path) -> Tensor:
    """Read a label map: uint8, (1, H, W), the palette's indices or the grey levels as they stand in the file.

    Raises:
        ValueError: for a colour picture, whose labels are colours and not indices, and for a JPEG, whose levels are no
            longer the indices that were saved.
    """
    mode, kind, labels = _read_indices(Path(path))
    if mode not in _INDEX_MODES:
        raise ValueError(
            f"{path}: label map has mode {mode}, expected a palette, black-and-white or 8-bit grey picture"
        )
    if kind == "JPEG":
        raise ValueError(f"{path}: label map is a grey JPEG, whose levels are no classes any more; save it as PNG")
    return torch.from_numpy(labels)[None]


def is_colour(path: str | Path) -> bool:
    """Whether the picture holds colours: neither palette indices, nor grey levels, nor black and white.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_labels`.
    """
    return _read_indices(Path(path))[0] not in _INDEX_MODES


def _read_indices(path: Path) -> tuple[str, str | None, _Pixels]:
    """Pillow's mode, the format, and the numbers as they stand in the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with Image.open(path, formats=_FORMATS) as file:
            return file.mode, file.format, np.array(file, dtype=np.uint8)
    except (*_DECODER_ERRORS, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: damaged or unknown label map ({error})") from error


def refuse_unwritable(path: str | Path, picture: Picture, *, scale: float = 1) -> None:
    """Raise, before long work, what :func:`write` would raise for a picture of the same kind; makes the folder.

    Args:
        scale: how many times as large as ``picture`` the written one will be.

    Raises:
        ValueError, OSError: see there.
    """
    path = Path(path)
    _check_kind(path, picture)
    _check_sides(path, picture, scale)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def write(path: str | Path, picture: Picture, *, quality: int | None = None) -> None:
    """Write a picture under a temporary name beside ``path``, then move it there, so no half file is ever seen.

    16 bit is kept in PNG and TIFF and rounded to 8 bit elsewhere.

    Args:
        quality: 1 to 100, of JPEG and WebP; None: JPEG at 95, WebP without loss.

    Raises:
        ValueError: for an unknown suffix, transparency or metadata in a format that has none, or sides or metadata too
            long for it.
    """
    path = Path(path)
    data = _encode(path, picture, quality)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _decode(data: bytes, path: Path, max_pixels: int, kept: Metadata) -> Picture:
    exif: bytes | None = None
    xmp: bytes | None = None
    if kept == "keep" and data[:4] in _TIFF:
        exif, xmp = _undamaged(path, lambda: metadata.of_tiff(data), _NOTHING)
    if _is_16bit_tiff(data):  # Pillow opens only some of them
        pixels, icc, orientation = _decode_16bit_tiff(data, max_pixels)
    else:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as file:
            _check_size(file.size, max_pixels)
            frames = getattr(file, "n_frames", 1)
            if frames > 1 and file.format != "MPO":  # an MPO's other frames are previews
                log.warning("%s: holds %d frames, the first one is taken", path, frames)
            if not _is_16bit_png(data):
                file.load()  # turns a TIFF upright, and then its orientation says so
            orientation = _undamaged(path, lambda: file.getexif().get(_ORIENTATION_TAG, 1), 1)
            if kept == "keep" and data[:4] not in _TIFF:
                exif, xmp = _undamaged(path, lambda: metadata.of_file(file), _NOTHING)
            pixels, icc = _decode_16bit_png(file, data) if _is_16bit_png(data) else _decode_8bit(file)
    planes = torch.from_numpy(np.ascontiguousarray(_upright(pixels, orientation).transpose(2, 0, 1)))
    has_alpha = planes.shape[0] in (2, 4)
    return Picture(planes[:-1] if has_alpha else planes, planes[-1:] if has_alpha else None, icc, exif, xmp)


def _undamaged(path: Path, read: Callable[[], _T], otherwise: _T) -> _T:
    """What the file tells of the photo; damage there is no reason to lose the picture."""
    try:
        return read()
    except (*_DECODER_ERRORS, AttributeError) as error:
        log.warning("%s: its EXIF or XMP is damaged and is left out (%s)", path, error)
        return otherwise


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _Refused(f"{width}x{height} px is above the limit of {max_pixels} px; shrink or split it")


def _decode_8bit(file: Image.Image) -> tuple[_Pixels, bytes | None]:
    icc: bytes | None = file.info.get("icc_profile") or None
    picture: Image.Image = file
    if file.mode == "CMYK":
        picture, icc = _from_cmyk(file, icc), None
    elif file.mode == "PA" or "transparency" in file.info:
        picture = file.convert("LA" if file.mode in ("1", "L") else "RGBA")
    elif file.mode in ("P", "YCbCr", "RGBX"):
        picture = file.convert("RGB")
    elif file.mode == "1":
        picture = file.convert("L")
    if picture.mode not in ("L", "LA", "RGB", "RGBA"):
        raise _Refused(f"pixel mode {file.mode} is not supported; save it as 8 or 16 bit RGB or grey")
    pixels = np.array(picture)
    return pixels if pixels.ndim == 3 else pixels[..., None], icc


def _from_cmyk(file: Image.Image, icc: bytes | None) -> Image.Image:
    if icc is None:
        return file.convert("RGB")
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    try:
        converted = ImageCms.profileToProfile(file, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except ImageCms.PyCMSError as error:
        log.warning("the colour profile of a CMYK picture does not fit it and is ignored (%s)", error)
        converted = None
    return converted or file.convert("RGB")


def _is_16bit_png(data: bytes) -> bool:
    return data[:4] == b"\x89PNG" and data[24:25] == b"\x10"  # the header's bit depth


def _decode_16bit_png(file: Image.Image, data: bytes) -> tuple[_Pixels, bytes | None]:
    import imagecodecs  # Pillow would cut 16-bit colour to 8 bit

    pixels = np.asarray(imagecodecs.png_decode(data), dtype=np.uint16)
    return pixels if pixels.ndim == 3 else pixels[..., None], file.info.get("icc_profile") or None


def _is_16bit_tiff(data: bytes) -> bool:
    if data[:4] not in _TIFF:
        return False
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        return bool(page.dtype == np.uint16 and page.bitspersample == 16)


def _decode_16bit_tiff(data: bytes, max_pixels: int) -> tuple[_Pixels, bytes | None, int]:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        _check_size((page.imagewidth, page.imagelength), max_pixels)
        if page.photometric not in (0, 1, 2):
            raise _Refused(f"16-bit TIFF of kind {page.photometric!r}; save it as RGB or grey")
        pixels = np.array(page.asarray(), dtype=np.uint16)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        elif page.planarconfig == 2:
            pixels = np.moveaxis(pixels, 0, -1)
        colours = 3 if page.photometric == 2 else 1
        expected = (page.imagelength, page.imagewidth, colours)
        if pixels.shape not in (expected, (*expected[:2], colours + 1)):
            raise _Refused(
                f"16-bit TIFF of shape {pixels.shape}, expected {expected} or one channel more, transparency"
            )
        if page.photometric == 0:  # white is zero
            pixels[..., 0] = 65535 - pixels[..., 0]
        tags = page.tags
        icc = tags["InterColorProfile"].value if "InterColorProfile" in tags else None
        return pixels, icc, tags["Orientation"].value if "Orientation" in tags else 1


def _upright(pixels: _Pixels, orientation: int) -> _Pixels:
    """Apply an EXIF orientation (1..8) to (H, W, C)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _check_kind(path: Path, picture: Picture) -> None:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: cannot write {suffix or 'a name without suffix'}, expected one of {SUFFIXES}")
    if suffix == ".bmp" and (picture.exif or picture.xmp):
        raise ValueError(f"{path}: bmp cannot hold the picture's EXIF and XMP; set metadata=strip or write .png")
    for name, told, most in (
        ("EXIF", picture.exif, _JPEG_SEGMENT),
        ("XMP", picture.xmp, _JPEG_SEGMENT - _XMP_NAME),
    ):
        if suffix in (".jpg", ".jpeg") and told is not None and len(told) > most:
            raise ValueError(
                f"{path}: the picture has {len(told)} bytes of {name}, of which jpg holds {most}; set metadata=strip "
                "or write .png"
            )
    if picture.alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"):
        raise ValueError(f"{path}: {suffix[1:]} cannot hold the picture's transparency; write .png, .tif or .webp")


def _check_sides(path: Path, picture: Picture, scale: float) -> None:
    suffix = path.suffix.lower()
    height, width = (round(side * scale) for side in picture.pixels.shape[1:])
    most = _LONGEST_SIDE.get(suffix)
    if most is not None and max(height, width) > most:
        raise ValueError(
            f"{path}: the result has {width}x{height} px, and {suffix[1:]} holds sides of up to {most} px; write .png "
            "or .tif"
        )


def _encode(path: Path, picture: Picture, quality: int | None) -> bytes:
    _check_kind(path, picture)
    _check_sides(path, picture, 1)
    suffix = path.suffix.lower()
    if picture.peak > 255 and suffix in (".png", ".tif", ".tiff"):
        return _encode_16bit(suffix, picture)
    if picture.peak > 255:
        alpha = None if picture.alpha is None else to_float(picture.alpha)
        picture = replace(picture, pixels=_quantise(to_float(picture.pixels), 255), alpha=_quantise(alpha, 255))
    buffer = io.BytesIO()
    kind = {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:].upper())
    options = metadata.options(kind, picture.exif, picture.xmp, (picture.pixels.shape[1], picture.pixels.shape[2]))
    if kind == "JPEG":
        options["quality"] = quality or 95
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True} if quality is None else {"quality": quality}
    if picture.icc is not None and kind != "BMP":
        options["icc_profile"] = picture.icc
    Image.fromarray(_interleave(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def _encode_16bit(suffix: str, picture: Picture) -> bytes:
    import imagecodecs
    import tifffile

    pixels = _interleave(picture)
    told = (picture.exif, picture.xmp, (pixels.shape[0], pixels.shape[1]))
    if suffix == ".png":
        profile = b"" if picture.icc is None else b"ICC profile\0\0" + zlib.compress(picture.icc)
        chunks = (metadata.chunk(b"iCCP", profile) if profile else b"") + metadata.png_chunks(*told)
        png, end_of_header = bytes(imagecodecs.png_encode(pixels, level=6)), 8 + 25
        return png[:end_of_header] + chunks + png[end_of_header:]  # which the encoder cannot write
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels,
        photometric="minisblack" if picture.is_grey else "rgb",
        planarconfig="contig" if pixels.ndim == 3 else None,
        extrasamples=None if picture.alpha is None else ["unassalpha"],
        compression="zlib",
        iccprofile=picture.icc,
        metadata=None,
        byteorder="<",
    )
    return metadata.with_tiff_tags(buffer.getvalue(), *told)


def _interleave(picture: Picture) -> _Pixels:
    """(H, W) for grey, else (H, W, C), transparency last."""
    planes = picture.pixels if picture.alpha is None else torch.cat([picture.pixels, picture.alpha])
    pixels = planes.permute(1, 2, 0).contiguous().numpy()
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels
