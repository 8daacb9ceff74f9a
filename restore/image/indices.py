"""Label maps: the numbers of a picture file as they stand in it, a palette's indices or levels of grey."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from restore.image.decoding import Pixels
from restore.image.formats import DECODER_ERRORS, PILLOW_NAMES

_INDEX_MODES = ("P", "L", "1")


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


def _read_indices(path: Path) -> tuple[str, str | None, Pixels]:
    """Pillow's mode, the format, and the numbers as they stand in the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with Image.open(path, formats=PILLOW_NAMES) as file:
            return file.mode, file.format, np.array(file, dtype=np.uint8)
    except (*DECODER_ERRORS, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: damaged or unknown label map ({error})") from error
