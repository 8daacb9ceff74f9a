"""Names of files as text: on Linux a name is bytes, and those that are no UTF-8 can be written into no text file."""

import re
from pathlib import Path


def encodable(text: str) -> str:
    r"""Text with names in it; bytes that are no UTF-8 become ``\xff`` and the like.

    >>> import os
    >>> encodable(os.fsdecode(b"photos/caf\xe9.png: damaged"))
    'photos/caf\\xe9.png: damaged'
    """
    # Python holds such a byte as a lone surrogate, which no encoder takes
    return re.sub(r"[\ud800-\udfff]", lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)


def printable(name: str | Path) -> str:
    r"""A name as text that can be written, on one line.

    >>> import os
    >>> printable(os.fsdecode(b"caf\xe9\n.png"))
    'caf\\xe9\\n.png'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in encodable(str(name)))
