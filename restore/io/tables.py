"""Text tables as Markdown, CSV or LaTeX, and on a terminal."""

import csv
import io
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # first characters of a spreadsheet formula
WIDEST = 10_000  # columns of a table that is not written to a terminal


class Table(NamedTuple):
    """A caption, a header, and rows of equally many cells, all plain text."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown."""
    rows = [[_plain_markdown(cell) for cell in row] for row in (table.header, *table.rows)]
    caption = f"{_plain_markdown(table.caption)}\n\n" if table.caption else ""
    return caption + markdown_rows(rows) + "\n"


def markdown_rows(rows: Sequence[Sequence[object]]) -> str:
    """A table whose cells already are Markdown; the first row is the header.

    Characters that would end a cell or begin a tag are escaped nevertheless, because cells may contain untrusted names.

    >>> print(markdown_rows([["a", "b"], [1, "`c`"]]))
    | a | b |
    |---|---|
    | 1 | `c` |
    """
    header, *others = [f"| {' | '.join(map(_one_cell, row))} |" for row in rows]
    return "\n".join([header, f"|{'---|' * len(rows[0])}", *others])


def _one_cell(cell: object) -> str:
    """Put a cell on one line, with an odd number of backslashes before each bar and each start of a tag."""
    return re.sub(r"(?<!\\)((?:\\\\)*)([|<])", r"\1\\\2", " ".join(str(cell).split("\n")))


def _plain_markdown(text: str) -> str:
    """Escape characters that would be read as markup; an underscore within a word is not escaped."""
    text = re.sub(r"([\\`*<>\[\]|~&])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def comma_separated(table: Table) -> str:
    """The table as CSV, without the caption, for which the format has no place."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([*map(_inert, row)] for row in (table.header, *table.rows))
    return buffer.getvalue()


def _inert(cell: object) -> object:
    """Make a cell harmless for spreadsheets: text that begins like a formula gets an apostrophe, numbers do not."""
    if not isinstance(cell, str) or not cell.startswith(_FORMULAS):
        return cell
    try:
        for bound in cell.split(" to "):  # a number, or an interval
            float(bound)
    except ValueError:
        return f"'{cell}"
    return cell


def records_csv(records: Iterable[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Header and one line per record; missing values are empty, other keys are left out."""
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
    "[": "{[}",  # after a line break it would be read as an optional argument for the height
    "]": "{]}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}


def latex(table: Table) -> str:
    """The table in LaTeX, for the package booktabs."""
    columns = "l" * len(table.header)
    lines = [r"\begin{table}", rf"\caption{{{_plain_latex(table.caption)}}}", rf"\begin{{tabular}}{{{columns}}}"]
    body = [r"\toprule", _latex_line(table.header), r"\midrule", *map(_latex_line, table.rows), r"\bottomrule"]
    return "\n".join([*lines, *body, r"\end{tabular}", r"\end{table}"]) + "\n"


def _latex_line(cells: Sequence[str]) -> str:
    return rf"{' & '.join(map(_plain_latex, cells))} \\"


def _plain_latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in " ".join(text.split()))


def draw(table: Table) -> None:
    """Draw on a terminal, wrapping cells to its width; in a file or pipe, at full width."""
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn()
    for name in table.header:
        drawn.add_column(Text(name), overflow="fold")  # nothing is cut off, however narrow the column is
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDEST)
    if table.caption:
        console.print(Text(table.caption))
    console.print(drawn)


def put(table: Table, plain: str) -> None:
    """Draw the table on a terminal; write ``plain``, whose lines are not wrapped, to a file or pipe."""
    if sys.stdout.isatty():
        draw(table)
    else:
        sys.stdout.write(plain)


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "csv": comma_separated, "latex": latex}
