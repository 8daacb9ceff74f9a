import logging

import pytest

from restore.io.console_log import ConsoleHandler


def test_a_record_is_one_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    handler = ConsoleHandler()
    for message in ("x" * 300, "first\nsecond"):
        handler.emit(logging.LogRecord("a", logging.INFO, "", 0, message, None, None))
    long, folded = capsys.readouterr().out.splitlines()
    assert long.endswith("INFO     " + "x" * 300)
    assert folded.endswith("INFO     first second")


def test_a_traceback_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    handler = ConsoleHandler()
    try:
        raise ValueError("reason")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
        handler.emit(logging.LogRecord("a", logging.ERROR, "", 0, "failed", None, info))
    assert len(capsys.readouterr().out.splitlines()) > 2
