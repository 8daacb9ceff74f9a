"""Decodes TIFF files that Pillow misreads: 16 bits, floating point, and samples in addition to colours."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from restore.image.decoding import Decoded, Pixels, UnsupportedKind, check_size
from restore.image.file_parts import Resolution, resolution

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2  # photometric interpretations
_UNSPECIFIED, _PREMULTIPLIED, _ALPHA = 0, 1, 2  # extra samples
_MOST_EXTRA = 4
_ROWS = 256  # converted at a time
_PER_INCH = {2: 1.0, 3: 2.54}  # resolution unit -> dots per inch for one dot per unit


def decode(data: bytes, max_pixels: int) -> Decoded | None:
    """Decode a TIFF file of a kind that Pillow misreads or cannot read; None if Pillow should read it.

    Colours premultiplied by alpha are divided by it.

    Raises:
        UnsupportedKind: above ``max_pixels``, neither grey nor RGB, or with floating-point values outside [0, 1].
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        extra = _extra_samples(page)
        if not _is_ours(page, extra):
            return None
        check_size((page.imagewidth, page.imagelength), max_pixels)
        _refuse_unknown(page, extra)
        pixels = np.asarray(page.asarray(maxworkers=1))
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        elif page.planarconfig == 2:
            pixels = np.moveaxis(pixels, 0, -1)
        colours = 3 if page.photometric == _RGB else 1
        expected = (page.imagelength, page.imagewidth, colours + len(extra))
        if pixels.shape != expected:
            raise UnsupportedKind(f"TIFF of shape {pixels.shape}, expected {expected}")
        alpha = next((k for k, kind in enumerate(extra) if kind != _UNSPECIFIED), None)
        planes = [*range(colours), *([] if alpha is None else [colours + alpha])]
        levels = _levels(pixels, planes, premultiplied=alpha is not None and extra[alpha] == _PREMULTIPLIED)
        if page.photometric == _WHITE_IS_ZERO:
            levels[..., 0] = np.iinfo(levels.dtype).max - levels[..., 0]
        icc = page.tags["InterColorProfile"].value if "InterColorProfile" in page.tags else None
        orientation = page.tags["Orientation"].value if "Orientation" in page.tags else 1
        return Decoded(levels, icc, orientation, _dpi(page.tags), extra=pixels.shape[2] - len(planes))


def describe(data: bytes) -> str:
    """The kind of a TIFF file in words, for the error when it cannot be read."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        return _described(tiff.pages.first)


def _described(page: Any) -> str:
    kinds = {"u": "unsigned", "i": "signed", "f": "floating-point", "c": "complex"}
    kind = "unknown" if page.dtype is None else kinds.get(page.dtype.kind, page.dtype.name)
    colours = getattr(page.photometric, "name", page.photometric)
    packing = getattr(page.compression, "name", page.compression)
    return f"{page.samplesperpixel} x {page.bitspersample}-bit {kind} samples ({colours}, {packing})"


def _extra_samples(page: Any) -> list[int]:
    """The meaning of each sample after the colours; an unspecified one in RGB is taken as alpha, as is customary."""
    colours = 3 if page.photometric == _RGB else 1
    extra = [int(each) for each in page.extrasamples]
    beside = max(0, page.samplesperpixel - colours)
    if not extra and beside == 1:
        return [_ALPHA]
    return [*extra, *[_UNSPECIFIED] * (beside - len(extra))][:beside]


def _is_ours(page: Any, extra: Sequence[int]) -> bool:
    if page.dtype is None:
        return False
    is_deep = page.dtype.kind == "f" or (page.dtype == np.uint16 and page.bitspersample == 16)
    is_plain = page.dtype == np.uint8 and page.bitspersample == 8
    return is_deep or (is_plain and bool(extra) and page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB))


def _refuse_unknown(page: Any, extra: Sequence[int]) -> None:
    is_grey = page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    if not (is_grey or page.photometric == _RGB):
        raise UnsupportedKind(f"TIFF of {_described(page)}; save it as RGB or grey")
    if len(extra) > (1 if is_grey else _MOST_EXTRA):  # several grey samples are bands of something other than a photo
        raise UnsupportedKind(
            f"TIFF of {_described(page)}, expected grey or RGB, and transparency; save it as one of these"
        )


def _levels(pixels: Pixels, planes: list[int], *, premultiplied: bool) -> Pixels:
    """Convert the chosen samples of (H, W, all) to uint8 or uint16, alpha last."""
    dtype = pixels.dtype if pixels.dtype.kind == "u" else np.dtype(np.uint16)
    peak = int(np.iinfo(dtype).max)
    levels = np.empty((*pixels.shape[:2], len(planes)), dtype)
    for top in range(0, pixels.shape[0], _ROWS):
        band = pixels[top : top + _ROWS][..., planes]
        if band.dtype.kind == "f":
            _refuse_outside(band)
        if band.dtype.kind == "f" or premultiplied:
            share = band.astype(np.float64) / (1 if band.dtype.kind == "f" else peak)
            band = np.floor((_divided(share) if premultiplied else share) * peak + 0.5)
        levels[top : top + _ROWS] = band
    return levels


def _refuse_outside(band: Pixels) -> None:
    least, most = float(band.min()), float(band.max())
    if not (least >= 0 and most <= 1):  # true for NaN as well
        raise UnsupportedKind(
            f"TIFF of floating-point levels from {least:g} to {most:g}, expected 0 to 1; divide by the level of white "
            "and save it as 16 bit"
        )


def _divided(band: Pixels) -> Pixels:
    """Divide premultiplied colours in [0, 1] by alpha; fully transparent pixels stay unchanged."""
    alpha = band[..., -1:]
    return np.concatenate([np.minimum(band[..., :-1] / np.where(alpha > 0, alpha, 1), 1), alpha], -1)


def _dpi(tags: Any) -> Resolution | None:
    unit = _PER_INCH.get(tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 2)
    if unit is None or "XResolution" not in tags or "YResolution" not in tags:
        return None
    try:
        return resolution([tags[name].value[0] / tags[name].value[1] * unit for name in ("XResolution", "YResolution")])
    except (TypeError, LookupError, ArithmeticError):
        return None
