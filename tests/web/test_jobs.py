"""The queue, with a stand-in for the work: who is let in, who is told what, and what is left behind."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from restore.web import isolated_process
from restore.web import jobs as jobs_module
from restore.web.jobs import Jobs, Ticket
from restore.web.limits import Limits, Refused
from restore.web.request import RequestFields
from tests.web.test_limits import limits, resolved

Story = Callable[[Jobs], Awaitable[None]]


def stand_in(processes: Any, task: Any, cfg: Any, job: Any, upload: Path, slot: int, **hooks: Any) -> dict[str, Any]:
    """Works until the upload's content says otherwise, or it is cancelled."""
    hooks["report"]("working", 1, 2)
    while upload.read_bytes() == b"long":
        if hooks["cancelled"]():
            raise isolated_process.TaskEnded("cancelled")
        time.sleep(0.01)
    if upload.read_bytes() == b"slow":
        time.sleep(0.3)
        return {"size": [4, 4]}
    if upload.read_bytes() == b"bad":
        raise isolated_process.TaskError("the image cannot be read")
    if upload.read_bytes() == b"deadly":
        raise isolated_process.TaskEnded("died")
    if upload.read_bytes().startswith(b"large"):
        (upload.parent / "result.png").write_bytes(bytes(int(upload.read_bytes()[5:])))
    return {"size": [4, 4]}


def play(story: Story, given: Limits, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated_process, "run", stand_in)
    monkeypatch.setattr(jobs_module, "SWEEP_EVERY", 0.05)

    async def whole() -> None:
        jobs = Jobs(None, given, folder, None)
        jobs.start()
        try:
            await asyncio.wait_for(story(jobs), 30)
        finally:
            await jobs.stop()

    in_a_fresh_thread(whole())
    assert list(folder.iterdir()) == []  # whatever happened


def in_a_fresh_thread(story: Coroutine[Any, Any, None]) -> None:
    """A browser's test may have left a running loop in this one."""
    with ThreadPoolExecutor(1) as fresh:
        fresh.submit(asyncio.run, story).result(60)


def send(jobs: Jobs, client: str, content: bytes) -> Ticket:
    return jobs.submit(client, resolved(RequestFields()), content, ".png")


def test_jobs_end_as_their_work_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(jobs: Jobs) -> None:
        good, bad = send(jobs, "a", b"good"), send(jobs, "b", b"bad")
        deadly = send(jobs, "c", b"deadly")
        for ticket in (good, bad, deadly):
            await ticket.over.wait()
        assert deadly.refused is not None
        assert "ended unexpectedly" in deadly.refused.sentence
        assert (good.state, good.facts, good.phase) == ("done", {"size": [4, 4]}, "working")
        assert [(t.state, t.refused and t.refused.status) for t in (bad, deadly)] == [("failed", 422), ("failed", 422)]

    play(story, limits(queue=5), tmp_path, monkeypatch)


def test_a_story_is_played_beside_a_loop_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(jobs: Jobs) -> None:
        assert jobs.ahead(send(jobs, "a", b"good")) == 0

    async def beside() -> None:
        play(story, limits(), tmp_path, monkeypatch)

    in_a_fresh_thread(beside())


def test_the_queue_is_short_and_an_address_has_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(jobs: Jobs) -> None:
        first = send(jobs, "a", b"long")
        while first.state == "waiting":
            await asyncio.sleep(0.01)
        second = send(jobs, "a", b"long")
        assert (jobs.ahead(first), jobs.ahead(second)) == (0, 0)
        with pytest.raises(Refused, match="you have 2 jobs under way"):
            send(jobs, "a", b"long")
        third = send(jobs, "b", b"good")
        assert jobs.ahead(third) == 1
        with pytest.raises(Refused, match="2 jobs waiting") as refused:
            send(jobs, "c", b"long")
        assert (refused.value.status, refused.value.retry_after) == (429, 30)
        jobs.forget(first)
        jobs.forget(second)
        await third.over.wait()
        assert third.state == "done"
        with pytest.raises(Refused, match="no such job; it was cancelled, or not polled"):
            jobs.get(first.id)

    play(story, limits(), tmp_path, monkeypatch)


def test_what_nobody_asks_after_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(jobs: Jobs) -> None:
        left, done = send(jobs, "a", b"long"), send(jobs, "b", b"good")
        await left.over.wait()
        assert left.state == "cancelled"
        await done.over.wait()
        while done.folder.exists() or left.folder.exists():
            await asyncio.sleep(0.05)

    play(story, limits(patience=0.2, keep_seconds=0.3), tmp_path, monkeypatch)


def test_a_busy_address_loses_its_own_results_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "MOST_KEPT", 3)

    async def story(jobs: Jobs) -> None:
        visitor = send(jobs, "a", b"good")
        await visitor.over.wait()
        busy = []
        for _ in range(5):
            busy.append(send(jobs, "b", b"good"))
            await busy[-1].over.wait()
        while busy[2].folder.exists():
            await asyncio.sleep(0.05)
        assert visitor.folder.exists()
        assert [ticket.folder.exists() for ticket in busy] == [False, False, False, True, True]

    play(story, limits(), tmp_path, monkeypatch)


def test_results_are_bounded_by_their_bytes_and_who_holds_most_loses_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(jobs: Jobs) -> None:
        visitor = send(jobs, "a", b"large3000")
        await visitor.over.wait()
        busy = []
        for _ in range(3):
            busy.append(send(jobs, "b", b"large4000"))
            await busy[-1].over.wait()
        while busy[0].folder.exists():
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        assert [ticket.folder.exists() for ticket in (visitor, *busy)] == [True, False, False, True]
        with pytest.raises(Refused, match="no such job"):
            jobs.get(busy[0].id)
        giant = send(jobs, "c", b"large90000")
        await giant.over.wait()
        while visitor.folder.exists() or busy[2].folder.exists():
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        assert (giant.folder / "result.png").stat().st_size == 90_000  # somebody waits for it

    play(story, limits(keep_mb=0.0075), tmp_path, monkeypatch)


def test_a_job_that_is_forgotten_twice_while_it_runs_costs_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(jobs: Jobs) -> None:
        ticket = send(jobs, "a", b"slow")
        while ticket.state != "running":
            await asyncio.sleep(0.001)
        jobs.forget(ticket)
        jobs.forget(ticket)  # as a route does whose job was dropped meanwhile
        after = send(jobs, "a", b"good")
        await after.over.wait()
        assert (after.state, after.size) == ("done", 4)
        assert not ticket.folder.exists()  # the same worker did both, one after the other

    play(story, limits(), tmp_path, monkeypatch)
