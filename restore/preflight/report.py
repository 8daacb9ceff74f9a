"""What ``restore check`` finds, a sentence each, shown as soon as it is found."""

import sys
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from restore.io.tables import WIDEST

GIB = 2**30
SIGNS = {"good": ("ok", "green"), "warning": ("note", "yellow"), "bad": ("BAD", "red"), "doing": ("...", "dim")}


class Finding(NamedTuple):
    """A row of the table; the run would fail by what is ``bad``."""

    what: str
    found: str
    verdict: Literal["good", "warning", "bad", "doing"] = "good"


class Report(list[Finding]):
    """All findings but what was only being done. Shown on the stdout that there is when it is made."""

    def __init__(self) -> None:
        super().__init__()
        # not wrapped in a file or a pipe
        self._console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDEST)

    def doing(self, what: str, how: str) -> None:
        """Show what is done next."""
        self.add(Finding(what, how, "doing"))

    def add(self, *findings: Finding) -> None:
        """Show findings, and keep them."""
        for finding in findings:
            row = Table.grid(
                Column(width=4), Column(width=22, overflow="fold"), Column(overflow="fold"), padding=(0, 1)
            )
            row.add_row(Text(*SIGNS[finding.verdict]), Text(finding.what), Text(finding.found))
            self._console.print(row)
        self += [finding for finding in findings if finding.verdict != "doing"]


def duration(seconds: float) -> str:
    """In words: ``0.4 s``, ``12 s``, ``3.2 min``, ``5.1 h``, ``2.3 days``."""
    for unit, length, largest in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 48 * 3600)):
        if seconds < largest:
            digits = 0 if unit == "s" and seconds >= 10 else 1
            return f"{seconds / length:.{digits}f} {unit}"
    return f"{seconds / 86400:.1f} days"


def size(count: float) -> str:
    """A number of bytes in words: ``2.4 MiB``, ``0.95 GiB``."""
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"
