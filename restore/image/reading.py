"""Reads image files into tensors: photos are rotated upright, and the alpha channel is separated.

Colour profile, resolution, greyness and bit depth are kept, and metadata on request. Damage outside the pixels only
loses the damaged part, with one warning.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from restore.image import containers, decoding, metadata, tiff_decoding
from restore.image.decoded_image import DecodedImage
from restore.image.decoding import Decoded, Pixels, UnsupportedKind
from restore.image.file_parts import FileParts
from restore.image.formats import DECODER_ERRORS, MAX_PIXELS, TIFF_HEADS, format_of, other_format
from restore.image.metadata import Description, Metadata

log = logging.getLogger(__name__)

BYTES_PER_PIXEL = 16  # four samples of 32 bits, uncompressed
SPARE_BYTES = 256_000_000  # bytes of a file allowed for data other than pixels
_TURNED = (5, 6, 7, 8)  # orientations that swap height and width


def read(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, metadata: Metadata = "strip", data: bytes | None = None
) -> DecodedImage:
    """Read a PNG, JPEG, TIFF, WebP, BMP, AVIF or HEIC file, rotated upright by its EXIF orientation.

    Palette and CMYK files become RGB, floating-point levels become 16 bits; TIFF colours premultiplied by alpha are
    divided by it. Of several frames the first is used; samples that are neither colour nor transparency are left out.
    Both cause a warning.

    Args:
        metadata: ``keep`` also reads EXIF, XMP, IPTC and texts, see :mod:`restore.image.metadata`.
        data: the file's content, if the caller has already read it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image, truncated, of an unsupported kind, or above ``max_pixels``; the message names the
            path.
    """
    path = Path(path)
    content = content_of(path, max_pixels=max_pixels) if data is None else data
    if not content:
        raise ValueError(f"{path}: the file is empty")
    try:
        with _collected_warnings() as messages:
            parts = containers.walk(content, keep=metadata == "keep")
            decoded = _decode(parts, max_pixels, metadata == "keep")
    except UnsupportedKind as error:
        raise ValueError(f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}; shrink or split the image first") from error
    except UnidentifiedImageError as error:
        kind = format_of(content)
        if kind is not None:
            raise ValueError(f"{path}: damaged or truncated {kind}") from error
        raise ValueError(
            f"{path}: not a PNG, JPEG, TIFF, WebP, BMP, AVIF or HEIC image{_kind_instead(content)}"
        ) from error
    except DECODER_ERRORS as error:
        raise ValueError(f"{path}: damaged or truncated image ({error})") from error
    _warn(path, parts.left_out, [*messages, *parts.in_part])
    for loss in decoded.losses():
        log.warning("%s: %s", path, loss)
    planes = torch.from_numpy(np.ascontiguousarray(_upright(decoded.pixels, decoded.orientation).transpose(2, 0, 1)))
    has_alpha = planes.shape[0] in (2, 4)
    colours, alpha = (planes[:-1], planes[-1:]) if has_alpha else (planes, None)
    dpi = decoded.dpi[::-1] if decoded.dpi and decoded.orientation in _TURNED else decoded.dpi
    return DecodedImage(colours, alpha, decoded.icc, decoded.description, decoded.colours, dpi)


def content_of(path: Path, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """The content of an image file.

    Raises:
        FileNotFoundError: no such file. ValueError: more bytes than an image of ``max_pixels`` can have.
    """
    if not path.is_file():
        reason = "not a regular file" if path.exists() else "no such file"
        raise FileNotFoundError(f"{path}: {reason}")
    size, most = path.stat().st_size, SPARE_BYTES + BYTES_PER_PIXEL * max_pixels
    if size > most:
        raise ValueError(f"{path}: {size} bytes, expected at most {most}; shrink or split the image first")
    return path.read_bytes()


def read_rgb8(path: str | Path) -> Tensor:
    """Read an image as training data: uint8, (3, H, W); transparency is dropped, 16 bits are rounded to 8."""
    return read(path).rgb8()


def _decode(parts: FileParts, max_pixels: int, keep: bool) -> Decoded:
    """Decode with the first reader that supports the kind of file."""
    if parts.data[:4] not in TIFF_HEADS:
        return decoding.decode(parts, max_pixels, keep=keep)
    description = Description()
    if keep:
        description = decoding.undamaged(parts, lambda: metadata.of_tiff(parts.data), description)
    decoded = tiff_decoding.decode(parts.data, max_pixels)
    if decoded is None:
        try:
            decoded = decoding.decode(parts, max_pixels, keep=False)
        except UnidentifiedImageError as error:
            kind = tiff_decoding.describe(parts.data)
            raise UnsupportedKind(f"TIFF of {kind}; save it as 8 or 16 bit RGB or grey") from error
    return replace(decoded, description=description, frames=parts.frames)


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """Collect the libraries' warnings instead of printing them."""
    messages: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        messages.append(record.getMessage())
        return False

    library = logging.getLogger("tifffile")  # it logs where Pillow warns
    library.addFilter(keep)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # max_pixels is the limit here
            yield messages
        messages.extend(str(each.message) for each in warned)
    finally:
        library.removeFilter(keep)


def _warn(path: Path, left_out: list[str], messages: list[str]) -> None:
    """Log one warning per file, however many the libraries gave."""
    if left_out:
        log.warning("%s: its EXIF or other metadata is damaged and is left out (%s)", path, left_out[0])
    elif messages:
        log.warning("%s: partly damaged, and read as far as possible (%s)", path, " ".join(messages[0].split()))


def _kind_instead(data: bytes) -> str:
    name = other_format(data)
    return "" if name is None else f", but {name}; save it as one of these"


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation (1..8) to (H, W, C)."""
    if orientation in _TURNED:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
