"""Walks the container of an image file, in any format, before a decoder sees the file."""

from restore.image import jpeg_segments, png_chunks, tiff_directories, webp_chunks
from restore.image.file_parts import FileParts
from restore.image.formats import TIFF_HEADS


def walk(data: bytes, *, keep: bool) -> FileParts:
    """The file to pass to a decoder, and the data found in addition to the pixels.

    Args:
        keep: whether metadata will be read.

    Raises:
        ValueError: a TIFF file without a directory.
    """
    if data.startswith(png_chunks.SIGNATURE):
        return png_chunks.walk(data, keep=keep)
    if data.startswith(jpeg_segments.START):
        return jpeg_segments.walk(data, keep=keep)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return webp_chunks.walk(data)
    if data[:4] in TIFF_HEADS:
        found = tiff_directories.walk(data)
        return FileParts(found.data, frames=found.pages, in_part=found.damage)
    return FileParts(data)
