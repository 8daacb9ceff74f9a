"""Which image files are read and written, and what their formats can hold. Imports nothing heavy."""

import struct
import zlib

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".avif", ".heic")
READ_SUFFIXES = (*SUFFIXES, ".jfif", ".jpe", ".heif", ".hif")  # other endings of JPEG and HEIC, which are not written
# endings of images that are not written here; all but the four above are not read either
OTHER_SUFFIXES = (
    *(".gif", ".apng", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jfif", ".jpe", ".ico", ".tga", ".psd"),
    *(".exr", ".hdr", ".pbm", ".pgm", ".ppm", ".svg", ".pdf", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw"),
)
DEEP_SUFFIXES = (".png", ".tif", ".tiff")  # of formats that are written with 16 bit
PILLOW_NAMES = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "AVIF")  # the only readers that are tried; HEIF by its brand
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # first bytes
MAX_PIXELS = 150_000_000  # a file with more is refused before it is decoded (a "decompression bomb")

BRANDS = {"AVIF": (b"avif", b"avis"), "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")}
HEAD = 64  # bytes of a file that say what it is

# the first bytes of what people take for one of these, or of the next best, and its name
OTHER_FORMATS = (
    (0, b"GIF8", "GIF"),
    (4, b"ftyp", "video or another ISO media file"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"8BPS", "Photoshop file"),
    (0, b"%PDF", "PDF"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"<!DOCTYPE html", "web page"),
    (0, b"<html", "web page"),
    (0, b"PK\x03\x04", "zip archive"),
    (0, b"version https://git-lfs", "pointer of Git LFS; run `git lfs pull`"),
)

# px, of libwebp, libjpeg, and of what readers of AVIF and HEIC take without further ado
LONGEST_SIDE = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500, ".avif": 16384, ".heic": 16384}
JPEG_SEGMENT = 65533  # bytes of EXIF, XMP or IPTC in a JPEG file, at most
XMP_NAME = 29  # bytes at the start of an XMP segment
IPTC_NAME = 14 + 12 + 1  # bytes around IPTC in its segment

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
    """The name of a format that is read, from the signature of a file; None without one, which BMP has not."""
    brands = [data[at : at + 4] for at in (8, *range(16, min(HEAD, int.from_bytes(data[:4], "big")), 4))]
    if data[4:8] == b"ftyp":  # the major brand and the compatible ones, of ISO/IEC 14496-12
        return next((name for each in brands for name, known in BRANDS.items() if each in known), None)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    heads = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
    return next((name for head, name in heads.items() if data.startswith(head)), None)


def may_be_read(data: bytes) -> bool:
    """Whether a file with these first bytes may be an image that is read."""
    is_tiff_or_bmp = data.startswith((b"II", b"MM", b"BM"))
    return is_tiff_or_bmp or data[4:8] == b"ftyp" or format_of(data) is not None  # ftyp: AVIF, HEIC, or a video


def other_format(data: bytes) -> str | None:
    """The name of a format that is not read, from its first bytes; None where they say nothing."""
    return next((name for at, start, name in OTHER_FORMATS if data[at : at + len(start)] == start), None)
