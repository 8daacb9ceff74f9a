"""What ``restore check`` finds, a sentence each, shown as soon as it is found."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from restore.io import progress
from restore.io.tables import WIDEST

SIGNS = {"good": ("ok", "green"), "warning": ("note", "yellow"), "bad": ("BAD", "red"), "doing": ("...", "dim")}


class Findings(list[dict[str, str]]):
    """All findings but what was only being done: ``what``, ``found``, and as ``verdict`` a key of ``SIGNS``.

    Shown on the stdout that there is when it is made. The run would fail by what is ``bad``.
    """

    def __init__(self) -> None:
        super().__init__()
        # not wrapped in a file or a pipe
        self._console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDEST)

    def add(self, what: str, found: str, verdict: str = "good") -> None:
        """Show a finding, and keep it."""
        row = Table.grid(Column(width=4), Column(width=22, overflow="fold"), Column(overflow="fold"), padding=(0, 1))
        row.add_row(Text(*SIGNS[verdict]), Text(what), Text(found))
        self._console.print(row)
        if verdict != "doing":
            self.append({"what": what, "found": found, "verdict": verdict})

    def doing(self, what: str, how: str, line: Callable[[], str] | None = None) -> AbstractContextManager[None]:
        """Show what is done in a block; in the block a row every half minute says it again, or ``line``."""
        self.add(what, how, "doing")
        return progress.doing(line or (lambda: how), lambda text: self.add(what, text, "doing"))
