"""Settings of standard output, whether a terminal, a pipe or a log."""

import io
import sys


def accept_any_text() -> None:
    r"""Escape characters, as ``\u732b``, that the encoding of standard output lacks.

    Otherwise a command would end with an error after its work, at the first file name with such a character.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
