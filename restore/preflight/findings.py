"""The findings of ``restore check``, one sentence each, shown as soon as they are made."""

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
    """All findings: ``what``, ``found``, and a ``verdict``, a key of ``SIGNS``; progress lines are not stored.

    They are written to the stdout of the time when this object is made. A ``bad`` finding means that the run would
    fail.
    """

    def __init__(self) -> None:
        super().__init__()
        # no wrapping in a file or pipe
        self._console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDEST)

    def add(self, what: str, found: str, verdict: str = "good") -> None:
        """Show a finding and store it."""
        row = Table.grid(Column(width=4), Column(width=22, overflow="fold"), Column(overflow="fold"), padding=(0, 1))
        row.add_row(Text(*SIGNS[verdict]), Text(what), Text(found))
        self._console.print(row)
        if verdict != "doing":
            self.append({"what": what, "found": found, "verdict": verdict})

    def doing(self, what: str, how: str, line: Callable[[], str] | None = None) -> AbstractContextManager[None]:
        """Show what is being done in a block, and again every half minute, or the result of ``line`` instead."""
        self.add(what, how, "doing")
        return progress.doing(line or (lambda: how), lambda text: self.add(what, text, "doing"))
