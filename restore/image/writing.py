"""Writes images to files: unsupported contents are refused before any work, and a file appears only when complete."""

import io
import logging
import zlib
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from restore.image import metadata, png_chunks
from restore.image.decoded_image import DecodedImage, quantise, to_float
from restore.image.decoding import Pixels, UnsupportedKind, register_heic
from restore.image.file_parts import PngChunk
from restore.image.formats import DEEP_SUFFIXES, IPTC_NAME, JPEG_SEGMENT, LONGEST_SIDE, SUFFIXES, XMP_NAME
from restore.image.metadata import Description
from restore.io.errors import SettingError
from restore.io.files import refuse_unwritable, write_bytes

log = logging.getLogger(__name__)

# libjpeg halves the resolution of colours by default; from this quality on it is full, as in ImageMagick
FULL_COLOUR = 90


def check_target(path: str | Path, image: DecodedImage, *, scale: float = 1) -> None:
    """Raise, before long work, the errors that :func:`write` would raise for such an image; create the folder.

    Args:
        scale: side of the written image / side of ``image``.

    Raises:
        SettingError: as for :func:`write`, and if files cannot be written in the folder.
    """
    path = Path(path)
    _check_kind(path, image)
    _check_sides(path, image, scale)
    refuse_unwritable(path.parent, [path.name])


def write(path: str | Path, image: DecodedImage, *, quality: int | None = None) -> None:
    """Write an image under a temporary name beside ``path``, then rename it, so that it appears only when complete.

    16 bits are kept in PNG and TIFF and rounded to 8 elsewhere. Metadata that the format cannot hold is left out, with
    a warning.

    Args:
        quality: 1 to 100, for JPEG, WebP, AVIF and HEIC; None: JPEG at 95, lossless WebP, AVIF and HEIC at 90. From 90
            on, JPEG and AVIF keep the full resolution of colours (4:4:4), below that half of it (4:2:0), as WebP and
            HEIC always do.

    Raises:
        SettingError: an unknown suffix, transparency or metadata that the format cannot hold, or sides or metadata too
            long for the format.
    """
    path = Path(path)
    data = _encode(path, image, quality)
    for lost in _left_out(path.suffix.lower(), image):
        log.warning("%s: %s cannot hold %s, which is left out", path, path.suffix[1:], lost)
    if image.peak > 255 and path.suffix.lower() not in DEEP_SUFFIXES:
        log.warning("%s: %s holds 8 bit, to which 16 bit is rounded; write .png or .tif", path, path.suffix[1:])
    write_bytes(path, data)


def _left_out(suffix: str, image: DecodedImage) -> list[str]:
    """Names of the parts of an image that its format cannot hold."""
    lost = image.description.left_out(suffix)
    if suffix != ".png" and image.icc is None and not png_chunks.is_srgb(image.colours):
        lost.append("the meaning of the levels that the PNG gives (" + ", ".join(_names(image.colours)) + ")")
    if suffix == ".bmp" and image.icc is not None:
        lost.append("the colour profile")
    return lost


def _names(colours: tuple[PngChunk, ...]) -> list[str]:
    return [name.decode() for name, _ in colours]


def _check_kind(path: Path, image: DecodedImage) -> None:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingError("output", path, f"a name that ends in one of {', '.join(SUFFIXES)}")
    if suffix == ".heic":
        _check_heic(path)
    if suffix == ".bmp" and image.description != Description():
        raise SettingError("metadata", "keep", f"strip for {path}, because bmp cannot hold metadata", "or write .png")
    for name, part, most in (
        ("EXIF", image.description.exif, JPEG_SEGMENT),
        ("XMP", image.description.xmp, JPEG_SEGMENT - XMP_NAME),
        ("IPTC", image.description.iptc, JPEG_SEGMENT - IPTC_NAME),
    ):
        if suffix in (".jpg", ".jpeg") and part is not None and len(part) > most:
            raise SettingError(
                "metadata",
                "keep",
                f"strip for {path}, because the image has {len(part)} bytes of {name}, of which jpg holds {most}",
                "or write .png",
            )
    if image.alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"):
        raise SettingError("output", path, "a format that holds the image's transparency", "write .png, .tif or .webp")


def _check_heic(path: Path) -> None:
    try:
        register_heic()
    except UnsupportedKind as error:
        remedy = "install it with pip install 'restore[heic]', or write another format"
        raise SettingError("output", path, "another ending, because writing HEIC needs pillow-heif", remedy) from error


def _check_sides(path: Path, image: DecodedImage, scale: float) -> None:
    suffix = path.suffix.lower()
    height, width = (round(side * scale) for side in image.pixels.shape[1:])
    most = LONGEST_SIDE.get(suffix)
    if most is not None and max(height, width) > most:
        raise SettingError(
            "output",
            path,
            f"a format for {width}x{height} px, because {suffix[1:]} holds sides of up to {most} px",
            "write .png or .tif",
        )


def _encode(path: Path, image: DecodedImage, quality: int | None) -> bytes:
    _check_kind(path, image)
    _check_sides(path, image, 1)
    suffix = path.suffix.lower()
    if image.peak > 255 and suffix in DEEP_SUFFIXES:
        return _encode_16bit(suffix, image)
    if image.peak > 255:
        alpha = None if image.alpha is None else to_float(image.alpha)
        image = replace(image, pixels=quantise(to_float(image.pixels), 255), alpha=quantise(alpha, 255))
    buffer = io.BytesIO()
    kind = {".jpg": "JPEG", ".tif": "TIFF", ".heic": "HEIF"}.get(suffix, suffix[1:].upper())
    options = metadata.options(kind, image.description, (image.pixels.shape[1], image.pixels.shape[2]))
    if kind == "JPEG":
        quality = quality or 95
        options |= {"quality": quality, "subsampling": "4:4:4" if quality >= FULL_COLOUR else "4:2:0"}
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True} if quality is None else {"quality": quality}
    elif kind in ("AVIF", "HEIF"):
        options["quality"] = quality or 90
    if kind == "AVIF" and options["quality"] >= FULL_COLOUR and not image.is_grey:
        options["subsampling"] = "4:4:4"
    if image.icc is not None and kind != "BMP":
        options["icc_profile"] = image.icc
    if image.dpi is not None and kind not in ("WEBP", "AVIF", "HEIF"):
        options["dpi"] = image.dpi
    if kind == "PNG":
        for name, body in image.colours:
            options["pnginfo"].add(name, body)
    Image.fromarray(_interleave(image)).save(buffer, kind, **options)
    return metadata.with_iptc(buffer.getvalue(), image.description.iptc) if kind == "JPEG" else buffer.getvalue()


def _encode_16bit(suffix: str, image: DecodedImage) -> bytes:
    import imagecodecs
    import tifffile

    pixels = _interleave(image)
    size = (pixels.shape[0], pixels.shape[1])
    if suffix == ".png":
        chunks = _colour_chunks(image) + metadata.png_chunks(image.description, size)
        png, end_of_header = bytes(imagecodecs.png_encode(pixels, level=6)), 8 + 25
        return png[:end_of_header] + chunks + png[end_of_header:]  # chunks that the encoder cannot write
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels,
        photometric="minisblack" if image.is_grey else "rgb",
        planarconfig="contig" if pixels.ndim == 3 else None,
        extrasamples=None if image.alpha is None else ["unassalpha"],
        compression="zlib",
        iccprofile=image.icc,
        metadata=None,
        byteorder="<",
        resolution=image.dpi,
        resolutionunit=None if image.dpi is None else "inch",
    )
    return metadata.with_tiff_tags(buffer.getvalue(), image.description, size)


def _colour_chunks(image: DecodedImage) -> bytes:
    """Chunks about levels and resolution, for an encoder that does not write them."""
    chunks = list(image.colours)
    if image.icc is not None:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(image.icc)))
    if image.dpi is not None:
        chunks.append((b"pHYs", png_chunks.resolution_body(image.dpi)))
    return b"".join(png_chunks.chunk(kind, body) for kind, body in chunks)


def _interleave(image: DecodedImage) -> Pixels:
    """(H, W) for grey, else (H, W, C), alpha last."""
    planes = image.pixels if image.alpha is None else torch.cat([image.pixels, image.alpha])
    pixels = planes.permute(1, 2, 0).contiguous().numpy()
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels
