"""Picture files to tensors: a photo comes in turned upright, with its transparency split off.

Its colour profile, greyness and bit depth are kept in mind, and what the file tells beside the pixels where asked for.
"""

import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from restore.image import decoding, metadata
from restore.image.decoding import Pixels, UnsupportedKind
from restore.image.formats import DECODER_ERRORS, MAX_PIXELS, PILLOW_NAMES, TIFF_HEADS
from restore.image.metadata import Metadata
from restore.image.picture import Picture

log = logging.getLogger(__name__)

_ORIENTATION_TAG = 0x0112
_T = TypeVar("_T")
_NOTHING: tuple[bytes | None, bytes | None] = (None, None)


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
    except UnsupportedKind as error:
        raise ValueError(f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}; shrink or split the picture first") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not a PNG, JPEG, TIFF, WebP or BMP picture") from error
    except DECODER_ERRORS as error:
        raise ValueError(f"{path}: damaged or truncated picture ({error})") from error


def read_rgb8(path: str | Path) -> Tensor:
    """Read a picture as training data: uint8, (3, H, W); transparency dropped, 16 bit rounded to 8."""
    return read(path).rgb8()


def _decode(data: bytes, path: Path, max_pixels: int, kept: Metadata) -> Picture:
    exif: bytes | None = None
    xmp: bytes | None = None
    if kept == "keep" and data[:4] in TIFF_HEADS:
        exif, xmp = _undamaged(path, lambda: metadata.of_tiff(data), _NOTHING)
    if decoding.is_16bit_tiff(data):  # Pillow opens only some of them
        pixels, icc, orientation = decoding.decode_16bit_tiff(data, max_pixels)
    else:
        with Image.open(io.BytesIO(data), formats=PILLOW_NAMES) as file:
            decoding.check_size(file.size, max_pixels)
            frames = getattr(file, "n_frames", 1)
            if frames > 1 and file.format != "MPO":  # an MPO's other frames are previews
                log.warning("%s: holds %d frames, the first one is taken", path, frames)
            if not decoding.is_16bit_png(data):
                file.load()  # turns a TIFF upright, and then its orientation says so
            orientation = _undamaged(path, lambda: file.getexif().get(_ORIENTATION_TAG, 1), 1)
            if kept == "keep" and data[:4] not in TIFF_HEADS:
                exif, xmp = _undamaged(path, lambda: metadata.of_file(file), _NOTHING)
            pixels, icc = (
                decoding.decode_16bit_png(file, data) if decoding.is_16bit_png(data) else decoding.decode_8bit(file)
            )
    planes = torch.from_numpy(np.ascontiguousarray(_upright(pixels, orientation).transpose(2, 0, 1)))
    has_alpha = planes.shape[0] in (2, 4)
    return Picture(planes[:-1] if has_alpha else planes, planes[-1:] if has_alpha else None, icc, exif, xmp)


def _undamaged(path: Path, read: Callable[[], _T], otherwise: _T) -> _T:
    """What the file tells of the photo; damage there is no reason to lose the picture."""
    try:
        return read()
    except (*DECODER_ERRORS, AttributeError) as error:
        log.warning("%s: its EXIF or XMP is damaged and is left out (%s)", path, error)
        return otherwise


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation (1..8) to (H, W, C)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
