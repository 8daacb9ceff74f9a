"""Image files to tensors: a photo is rotated upright, and its transparency split off.

Its colour profile, greyness and bit depth are kept, and its metadata on request.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from restore.image import decoding, metadata
from restore.image.decoded_image import DecodedImage
from restore.image.decoding import Pixels, UnsupportedKind
from restore.image.formats import DECODER_ERRORS, MAX_PIXELS, PILLOW_NAMES, TIFF_HEADS
from restore.image.metadata import Description, Metadata

log = logging.getLogger(__name__)

_ORIENTATION_TAG = 0x0112
_T = TypeVar("_T")


def read(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, metadata: Metadata = "strip", data: bytes | None = None
) -> DecodedImage:
    """Read a PNG, JPEG, TIFF, WebP or BMP file, rotated upright by its EXIF orientation.

    Palette and CMYK files become RGB; the first frame of an animation is taken, with a warning.

    Args:
        metadata: ``keep`` reads EXIF, XMP, IPTC and texts as well, see :mod:`restore.image.metadata`.
        data: the file's content, where the caller has read it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image, truncated, of an unsupported kind, or above ``max_pixels``; the path is named.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    damage: list[str] = []
    try:
        with _collected_warnings() as messages:
            content = path.read_bytes() if data is None else data
            image = _decode(content, path, max_pixels, metadata, damage)
    except UnsupportedKind as error:
        raise ValueError(f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}; shrink or split the image first") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not a PNG, JPEG, TIFF, WebP or BMP image") from error
    except DECODER_ERRORS as error:
        raise ValueError(f"{path}: damaged or truncated image ({error})") from error
    _warn(path, damage, messages)
    return image


def read_rgb8(path: str | Path) -> Tensor:
    """Read an image as training data: uint8, (3, H, W); transparency dropped, 16 bit rounded to 8."""
    return read(path).rgb8()


def _decode(data: bytes, path: Path, max_pixels: int, kept: Metadata, damage: list[str]) -> DecodedImage:
    is_tiff, description = data[:4] in TIFF_HEADS, Description()
    if kept == "keep" and is_tiff:
        description = _undamaged(damage, lambda: metadata.of_tiff(data), description)
    if decoding.is_16bit_tiff(data):  # Pillow opens only some of them
        pixels, icc, orientation = decoding.decode_16bit_tiff(data, max_pixels)
    else:
        with Image.open(io.BytesIO(data), formats=PILLOW_NAMES) as file:
            decoding.check_size(file.size, max_pixels)
            frames = getattr(file, "n_frames", 1)
            if frames > 1 and file.format != "MPO":  # an MPO's other frames are previews
                log.warning("%s: holds %d frames, the first one is taken", path, frames)
            is_16bit = decoding.is_16bit_png(data)
            if not is_16bit:
                file.load()  # rotates a TIFF upright, and then its orientation says so
            orientation = _undamaged(damage, lambda: file.getexif().get(_ORIENTATION_TAG, 1), 1)
            if kept == "keep" and not is_tiff:
                description = _undamaged(damage, lambda: metadata.of_file(file), description)
            pixels, icc = decoding.decode_16bit_png(file, data) if is_16bit else decoding.decode_8bit(file)
    planes = torch.from_numpy(np.ascontiguousarray(_upright(pixels, orientation).transpose(2, 0, 1)))
    has_alpha = planes.shape[0] in (2, 4)
    return DecodedImage(planes[:-1] if has_alpha else planes, planes[-1:] if has_alpha else None, icc, description)


def _undamaged(damage: list[str], read: Callable[[], _T], otherwise: _T) -> _T:
    """Metadata, or ``otherwise`` where it is damaged, because the image can be read all the same."""
    try:
        return read()
    except (*DECODER_ERRORS, AttributeError) as error:
        damage.append(str(error) or type(error).__name__)
        return otherwise


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """Collects the warnings of the libraries instead of printing them."""
    messages: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        messages.append(record.getMessage())
        return False

    library = logging.getLogger("tifffile")  # which logs where Pillow warns
    library.addFilter(keep)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # max_pixels decides
            yield messages
        messages.extend(str(each.message) for each in warned)
    finally:
        library.removeFilter(keep)


def _warn(path: Path, damage: list[str], messages: list[str]) -> None:
    """One warning for a file, however many the libraries gave."""
    if damage:
        log.warning("%s: its EXIF or other metadata is damaged and is left out (%s)", path, damage[0])
    elif messages:
        log.warning("%s: damaged in part, and read as far as possible (%s)", path, " ".join(messages[0].split()))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation (1..8) to (H, W, C)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
