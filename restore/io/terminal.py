"""What is written to a terminal, a pipe or a log."""

import io
import sys


def accept_any_text() -> None:
    r"""Escape, as ``\u732b``, what the encoding of standard output lacks.

    A command would else end with an error after its work, at the first name of a file that the encoding lacks.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
