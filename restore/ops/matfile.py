"""Reads only the numeric matrices of MATLAB's .mat files of level 5 (saved by MATLAB with -v6 or -v7).

MathWorks, "MAT-File Format", 2019. Not scipy's reader, which crashes the process on some damaged files: a kernel may
come from anywhere.
"""

import math
import zlib
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

COMPRESSED, MATRIX = 15, 14
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMERIC_CLASSES = range(6, 16)  # double to uint64; the others are cells, structures, text and sparse matrices
LARGEST = 2**26  # maximum bytes of one decompressed variable

Order = Literal["little", "big"]


def matrices(data: bytes) -> dict[str, NDArray[Any]]:
    """Numeric arrays by name, real or complex, with any number of dimensions; other variables are skipped.

    Raises:
        ValueError: not such a file, or a damaged one; the message is half a sentence with the reason.
    """
    orders: dict[bytes, Order] = {b"IM": "little", b"MI": "big"}
    order = orders.get(data[126:128])
    if order is None:
        raise ValueError("no header of MATLAB 5 or later")
    if int.from_bytes(data[124:126], order) != 0x0100:
        raise ValueError("not version 5 to 7; save it with -v7")
    found = {}
    for kind, body in _elements(data[128:], order):
        if kind == COMPRESSED:
            kind, body = next(_elements(_unpacked(body), order), (0, b""))
        if kind == MATRIX:
            found.update(_matrix(body, order))
    return found


def _unpacked(body: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(body, LARGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _elements(data: bytes, order: Order) -> Iterator[tuple[int, bytes]]:
    """Yield the elements in order as (kind, contents)."""
    position = 0
    while position < len(data):
        kind = int.from_bytes(data[position : position + 4], order)
        if kind >> 16:  # contents of at most four bytes are stored within the tag of eight
            kind, length, start = kind & 0xFFFF, kind >> 16, position + 4
            position += 8
        else:
            length, start = int.from_bytes(data[position + 4 : position + 8], order), position + 8
            position = start + (length if kind == COMPRESSED else -(-length // 8) * 8)
        if start + length > len(data):
            raise ValueError("cut off")
        yield kind, data[start : start + length]


def _matrix(body: bytes, order: Order) -> dict[str, NDArray[Any]]:
    """{name: array}, or an empty mapping if the variable is not a numeric array."""
    parts = list(_elements(body, order))
    if len(parts) < 3:
        raise ValueError("a variable without its name")
    flags = int.from_bytes(parts[0][1][:4], order)
    if flags & 0xFF not in NUMERIC_CLASSES:
        return {}
    shape = _numbers(*parts[1], order).tolist()
    is_complex = bool(flags & 0x800)
    values = [_numbers(*part, order) for part in parts[3 : 5 if is_complex else 4]]
    if len(values) != 1 + is_complex or any(min(shape, default=-1) < 0 or v.size != math.prod(shape) for v in values):
        raise ValueError("a variable that does not fill its shape")
    array = values[0] + 1j * values[1] if is_complex else values[0]
    return {parts[2][1].decode("latin-1"): array.reshape(shape, order="F")}


def _numbers(kind: int, contents: bytes, order: Order) -> NDArray[Any]:
    if kind not in NUMBERS:
        raise ValueError(f"numbers of the unknown kind {kind}")
    return np.frombuffer(contents, np.dtype(NUMBERS[kind]).newbyteorder(order))
