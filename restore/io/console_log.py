"""Log records on stdout: formatted by rich on a terminal, otherwise one line per record, however long."""

import logging
import sys
from typing import TextIO


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes to the present ``sys.stdout``, even if that was replaced after the handler was made.

    In a file or pipe lines are not wrapped, because programs read them, or people in a window of another width.
    """

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)-8s %(message)s", "%H:%M:%S"))
        self._drawn: logging.Handler | None = None
        if sys.stdout.isatty():
            from rich.logging import RichHandler

            self._drawn = RichHandler(show_path=False, log_time_format="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on its own lines."""
        if "\n" in record.getMessage():
            record = logging.makeLogRecord(vars(record))
            record.msg, record.args = " ".join(record.getMessage().split("\n")), None
        return super().format(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        if self._drawn is not None:
            self._drawn.emit(record)
            return
        self.stream = sys.stdout
        super().emit(record)
