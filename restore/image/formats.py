"""The image formats that can be read and written, and their limits. Imports nothing heavy."""

import struct
import zlib

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".avif", ".heic")
READ_SUFFIXES = (*SUFFIXES, ".jfif", ".jpe", ".heif", ".hif")  # other suffixes of JPEG and HEIC, only for reading
# suffixes of images that cannot be written; only the four above can be read
OTHER_SUFFIXES = (
    *(".gif", ".apng", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jfif", ".jpe", ".ico", ".tga", ".psd"),
    *(".exr", ".hdr", ".pbm", ".pgm", ".ppm", ".svg", ".pdf", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw"),
)
DEEP_SUFFIXES = (".png", ".tif", ".tiff")  # formats written with 16 bits
PILLOW_NAMES = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "AVIF")  # the only readers tried; HEIC is known by its brand
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # first bytes
MAX_PIXELS = 150_000_000  # larger files are refused before decoding ("decompression bombs")

BRANDS = {"AVIF": (b"avif", b"avis"), "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")}
HEAD = 64  # first bytes of a file, enough to detect its format

# first bytes of other formats that users are likely to pass, with article and name
OTHER_FORMATS = (
    (0, b"GIF8", "a GIF"),
    (4, b"ftyp", "a video or another ISO media file"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR"),
    (0, b"#?RADIANCE", "a Radiance HDR"),
    (0, b"<svg", "an SVG"),
    (0, b"<?xml", "an XML or SVG file"),
    (0, b"<!DOCTYPE html", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"version https://git-lfs", "a Git LFS pointer, in whose place `git lfs pull` puts the image"),
)

# pixels; limits of libwebp, of libjpeg, and of common readers of AVIF and HEIC
LONGEST_SIDE = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500, ".avif": 16384, ".heic": 16384}
JPEG_SEGMENT = 65533  # maximum bytes of EXIF, XMP or IPTC in a JPEG file
XMP_NAME = 29  # bytes at the start of an XMP segment
IPTC_NAME = 14 + 12 + 1  # bytes added to IPTC in its segment

# raised by Pillow, tifffile and imagecodecs in tests with flipped or missing bytes
DECODER_ERRORS = (
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


def format_of(data: bytes) -> str | None:
    """Name of the readable format with this signature; None without a known one, as for BMP."""
    brands = [data[at : at + 4] for at in (8, *range(16, min(HEAD, int.from_bytes(data[:4], "big")), 4))]
    if data[4:8] == b"ftyp":  # major and compatible brands (ISO/IEC 14496-12)
        return next((name for each in brands for name, known in BRANDS.items() if each in known), None)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    heads = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
    return next((name for head, name in heads.items() if data.startswith(head)), None)


def may_be_read(data: bytes) -> bool:
    """Whether a file with these first bytes may be a readable image."""
    is_tiff_or_bmp = data.startswith((b"II", b"MM", b"BM"))
    return is_tiff_or_bmp or data[4:8] == b"ftyp" or format_of(data) is not None  # ftyp: AVIF, HEIC, or a video


def other_format(data: bytes) -> str | None:
    """Name of an unreadable format with its article, from a file's first bytes; None if they are not known."""
    return next((name for at, start, name in OTHER_FORMATS if data[at : at + len(start)] == start), None)
