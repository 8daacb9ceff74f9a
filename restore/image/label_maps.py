"""Reads label maps: the values stored in an image file, palette indices or grey levels."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from restore.image import containers
from restore.image.decoding import Pixels
from restore.image.formats import DECODER_ERRORS, PILLOW_NAMES

_INDEX_MODES = ("P", "L", "1")


class ColourLabels(ValueError):
    """The file stores labels as colours, not as indices."""


def read_labels(path: str | Path) -> Tensor:
    """Read a label map: uint8, (1, H, W), the palette indices or grey levels, as stored.

    Raises:
        FileNotFoundError: no such file.
        ColourLabels: a colour image.
        ValueError: the file is damaged, or a JPEG, whose levels differ from the indices that were saved.
    """
    mode, kind, labels = _read_indices(Path(path))
    if mode not in _INDEX_MODES:
        expected = "a palette, black-and-white or 8-bit grey image"
        raise ColourLabels(f"{path}: label map has mode {mode}, expected {expected}")
    if kind == "JPEG":
        raise ValueError(f"{path}: label map is a grey JPEG, whose levels are no longer classes; save it as PNG")
    return torch.from_numpy(labels)[None]


def _read_indices(path: Path) -> tuple[str, str | None, Pixels]:
    """Pillow's mode, the format, and the stored values."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        data = containers.walk(path.read_bytes(), keep=False).data
        with Image.open(io.BytesIO(data), formats=PILLOW_NAMES) as file:
            return file.mode, file.format, np.array(file, dtype=np.uint8)
    except (*DECODER_ERRORS, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: damaged or unknown label map ({error})") from error
