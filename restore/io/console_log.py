"""Log lines on the screen: laid out by rich on a terminal, else one line for each record, however long it is."""

import logging
import sys
from typing import TextIO


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes to stdout, also where that is another file than when the handler was made.

    In a file or a pipe a line is not wrapped: it is read by programs, or in a window of another width.
    """

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)-8s %(message)s", "%H:%M:%S"))
        self._drawn: logging.Handler | None = None
        if sys.stdout.isatty():
            from rich.logging import RichHandler

            self._drawn = RichHandler(show_path=False, log_time_format="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on lines of its own."""
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
