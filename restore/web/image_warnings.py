"""Warnings about an upload."""

import logging


class CollectedWarnings(logging.Handler):
    """Collects warnings about the upload, which are meant for the client and would fill the server's log."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Store the warning."""
        self.messages.append(record.getMessage())

    def __enter__(self) -> list[str]:
        logger = logging.getLogger("restore.image")
        logger.addHandler(self)
        logger.propagate = False
        return self.messages

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("restore.image")
        logger.removeHandler(self)
        logger.propagate = True
