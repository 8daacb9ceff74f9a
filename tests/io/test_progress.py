import logging

import pytest

from restore.io import progress
from restore.io.progress import Report, show_progress


@pytest.fixture
def every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)


def test_without_a_terminal_lines_tell_how_many_are_done_but_not_the_last(
    every_time: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with show_progress("images", 3) as (show, advance):
        show(Report(0, "a.png", 1, 2))
        for _ in range(3):
            advance()
    assert [message.partition(",")[0] for message in caplog.messages] == ["1 of 3 images", "2 of 3 images"]


def test_lines_are_rare(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with show_progress("images", 3) as (_, advance):
        advance()
    assert caplog.messages == []


def test_on_a_terminal_each_process_has_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with show_progress("images", 2) as (show, advance):
        show(Report(0, "a.png: restoring", 1, 2))
        show(Report(1, "b.png: restoring", 1, 4))
        advance()
    out = capsys.readouterr().out
    assert all(text in out for text in ("images", "a.png: restoring", "b.png: restoring", "1/2", "1/4"))
