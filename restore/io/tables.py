"""Tables of text as Markdown, CSV or LaTeX, and drawn on a terminal."""

import csv
import io
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # how a formula begins
WIDEST = 10_000  # columns, of a table that is drawn where lines have any length


class Table(NamedTuple):
    """A caption, a header, and rows of as many cells, all of it plain text."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def markdown(table: Table) -> str:
    """As GitHub reads it."""
    rows = [[_plain_markdown(cell) for cell in row] for row in (table.header, *table.rows)]
    caption = f"{_plain_markdown(table.caption)}\n\n" if table.caption else ""
    return caption + markdown_rows(rows) + "\n"


def markdown_rows(rows: Sequence[Sequence[object]]) -> str:
    """A table of cells that are Markdown already; the first row is the header.

    What would end a cell or begin a tag is escaped in them as well, because names of others may be part of a cell.

    >>> print(markdown_rows([["a", "b"], [1, "`c`"]]))
    | a | b |
    |---|---|
    | 1 | `c` |
    """
    header, *others = [f"| {' | '.join(map(_one_cell, row))} |" for row in rows]
    return "\n".join([header, f"|{'---|' * len(rows[0])}", *others])


def _one_cell(cell: object) -> str:
    """On one line, with each bar and each begin of a tag after an odd number of backslashes."""
    return re.sub(r"(?<!\\)((?:\\\\)*)([|<])", r"\1\\\2", " ".join(str(cell).split("\n")))


def _plain_markdown(text: str) -> str:
    """The text with what would be read as markup escaped; an underscore within a word is none."""
    text = re.sub(r"([\\`*<>\[\]|~&])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def comma_separated(table: Table) -> str:
    """Without the caption: the format has none."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([*map(_inert, row)] for row in (table.header, *table.rows))
    return buffer.getvalue()


def _inert(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe, numbers do not."""
    if not isinstance(cell, str) or not cell.startswith(_FORMULAS):
        return cell
    try:
        for bound in cell.split(" to "):  # a number, or an interval
            float(bound)
    except ValueError:
        return f"'{cell}"
    return cell


def records_csv(records: Iterable[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Header and one line for each record; what a record lacks is empty, other keys are left out."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _inert(value) for key, value in record.items()} for record in records)
    return buffer.getvalue()


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # after a line's end it would be read as its height
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


def draw(table: Table) -> None:
    """On a terminal at its width, cells that do not fit being wrapped; in a file or a pipe as wide as it is."""
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn()
    for name in table.header:
        drawn.add_column(Text(name), overflow="fold")  # nothing is cut away, however narrow it is
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDEST)
    if table.caption:
        console.print(Text(table.caption))
    console.print(drawn)


def put(table: Table, plain: str) -> None:
    """Draw it on a terminal; write ``plain``, whose lines have any length, to a file or a pipe."""
    if sys.stdout.isatty():
        draw(table)
    else:
        sys.stdout.write(plain)


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "csv": comma_separated, "latex": latex}
