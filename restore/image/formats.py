"""Which image files are read and written, and what their formats can hold. Imports nothing heavy."""

import struct
import zlib

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
PILLOW_NAMES = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")  # the only readers that are tried
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # first bytes
MAX_PIXELS = 150_000_000  # a file with more is refused before it is decoded (a "decompression bomb")

LONGEST_SIDE = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}  # px, of libwebp and libjpeg
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
