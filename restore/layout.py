"""Tables of text as Markdown, CSV or LaTeX."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """A caption, a header, and rows of as many cells, all of it plain text."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def markdown(table: Table) -> str:
    """As GitHub reads it."""
    lines = [_line(table.header), f"|{'---|' * len(table.header)}", *map(_line, table.rows)]
    caption = f"{_plain_markdown(table.caption)}\n\n" if table.caption else ""
    return caption + "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_plain_markdown, cells))} |"


def _plain_markdown(text: str) -> str:
    """The text with what would be read as markup escaped; an underscore within a word is none."""
    text = re.sub(r"([\\`*<>\[\]|~&])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def comma_separated(table: Table) -> str:
    """Without the caption, which the format has no place for."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([table.header, *table.rows])
    return buffer.getvalue()


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # behind a line's end it would be its height
    "]": "{]}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}


def latex(table: Table) -> str:
    """With the package booktabs."""
    columns = "l" * len(table.header)
    lines = [r"\begin{table}", rf"\caption{{{_plain_latex(table.caption)}}}", rf"\begin{{tabular}}{{{columns}}}"]
    body = [r"\toprule", _latex_line(table.header), r"\midrule", *map(_latex_line, table.rows), r"\bottomrule"]
    return "\n".join([*lines, *body, r"\end{tabular}", r"\end{table}"]) + "\n"


def _latex_line(cells: Sequence[str]) -> str:
    return rf"{' & '.join(map(_plain_latex, cells))} \\"


def _plain_latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in " ".join(text.split()))


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "csv": comma_separated, "latex": latex}
