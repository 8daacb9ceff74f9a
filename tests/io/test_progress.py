import logging
import threading

import pytest

from restore.io import progress
from restore.io.progress import Counted, TaskProgress, doing, show_progress


def test_a_line_says_what_is_done_and_what_is_begun() -> None:
    counted = Counted("images", 4)
    assert counted.line() == "0 of 4 images"
    counted.show(TaskProgress(0, "a.png: restoring", 1, 2))
    counted.show(TaskProgress(1, "b.png: restoring", 1, 4))
    line = counted.line()
    assert line.startswith("0 of 4 images, a.png: restoring (1 of 2), b.png: restoring (1 of 4), about 0:")
    counted.show(TaskProgress(0, "a.png: restoring", 2, 2))
    counted.advance()
    assert counted.line().startswith("1 of 4 images, b.png: restoring (1 of 4), about 0:")
    for _ in range(3):
        counted.advance()
    assert "left" not in counted.line()


def test_without_a_terminal_the_innermost_speaks_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.01)
    caplog.set_level(logging.INFO)
    spoke = threading.Event()

    def inner() -> str:
        spoke.set()
        return "reading"

    with doing("all of it"), doing(inner):
        assert spoke.wait(60)
    assert progress._speaker.get() is None


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
        show(TaskProgress(0, "a.png: restoring", 1, 2))
        show(TaskProgress(1, "b.png: restoring", 1, 4))
        advance()
    out = capsys.readouterr().out
    assert all(text in out for text in ("images", "a.png: restoring", "b.png: restoring", "1/2", "1/4"))
