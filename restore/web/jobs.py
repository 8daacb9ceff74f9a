"""The job queue: jobs wait, run in their own processes, and leave a folder that is deleted when it expires."""

import asyncio
import logging
import secrets
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from restore.io.wording import counted
from restore.web import isolated_process, worker
from restore.web.limits import Limits, Refused
from restore.web.request import Job

log = logging.getLogger(__name__)

State = Literal["waiting", "running", "done", "failed", "cancelled"]
SWEEP_EVERY = 0.5  # seconds between two searches for jobs to drop
MOST_KEPT = 64  # number of finished jobs, so that searching them stays cheap; keep_mb limits their bytes

_REFUSALS = {
    "cancelled": (410, "the job was cancelled"),
    "timeout": (408, "the job took longer than this server allows; send a smaller image, or ask for fewer steps"),
    "died": (
        422,
        (
            "the process that restored the image ended unexpectedly; the image may need more memory than is available: "
            "shrink it"
        ),
    ),
}


class Ticket:
    """A job in the queue, running, or ended.

    Attributes:
        folder: holds the upload, then the result. state, phase, done, total: its progress. facts: about the result.
        size: bytes of its files, once it has ended. refused: the reason if there is no result.
        seen: time of the last poll. ended: time when it ended, or None.
    """

    def __init__(self, client: str, job: Job, folder: Path) -> None:
        self.id = folder.name
        self.client, self.job, self.folder = client, job, folder
        self.state: State = "waiting"
        self.phase, self.done, self.total = "waiting", 0, 0
        self.facts: dict[str, Any] = {}
        self.size = 0
        self.refused: Refused | None = None
        self.seen = time.monotonic()
        self.ended: float | None = None
        self.over = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether the job waits or runs."""
        return self.state in ("waiting", "running")

    def end(self, state: State, refused: Refused | None = None) -> None:
        """Set the final state; only the first call has an effect."""
        if self.is_open:
            self.state, self.refused, self.ended = state, refused, time.monotonic()
            self.over.set()


class Jobs:
    """All jobs of the server. Only to be used from its event loop.

    Args:
        cfg: root of ``restore serve``, for the processes. limits: limits for clients. folder: for uploads and results.
        processes: from :func:`restore.web.isolated_process.context`.
    """

    def __init__(self, cfg: Any, limits: Limits, folder: Path, processes: Any) -> None:
        self.cfg, self.limits, self.folder, self.processes = cfg, limits, folder, processes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tickets: dict[str, Ticket] = {}
        self._queue: asyncio.Queue[Ticket | None] = asyncio.Queue()  # None ends a worker

    def start(self) -> None:
        """Start the workers."""
        self._workers = [asyncio.create_task(self._work(slot)) for slot in range(self.limits.devices)]
        self._sweeper = asyncio.create_task(self._sweep())
        for task in (*self._workers, self._sweeper):
            task.add_done_callback(_end_server)

    async def stop(self) -> None:
        """Cancel every job and delete every file."""
        for ticket in list(self._tickets.values()):
            self.forget(ticket)
        for _ in self._workers:
            self._queue.put_nowait(None)
        self._sweeper.cancel()
        await asyncio.gather(*self._workers, self._sweeper, return_exceptions=True)

    def admit(self, client: str) -> None:
        """Refuse a client whose job would not be accepted; cheap, so it is called before the request is read."""
        open_ones = [ticket for ticket in self._tickets.values() if ticket.is_open]
        if sum(ticket.client == client for ticket in open_ones) >= self.limits.jobs_per_client:
            raise Refused(
                429,
                f"you have {counted(self.limits.jobs_per_client, 'job')} under way; wait until one is done",
                retry_after=5,
            )
        if sum(ticket.state == "waiting" for ticket in open_ones) >= self.limits.queue:
            raise Refused(
                429, f"the queue is full: {counted(self.limits.queue, 'job')} waiting; try again later", retry_after=30
            )

    def submit(self, client: str, job: Job, data: bytes, suffix: str) -> Ticket:
        """Add a job to the queue.

        Args:
            data: the upload. suffix: of its format.
        """
        self.admit(client)
        ticket = Ticket(client, job, self.folder / secrets.token_urlsafe(16))
        ticket.folder.mkdir(mode=0o700)
        (ticket.folder / f"upload{suffix}").write_bytes(data)
        self._tickets[ticket.id] = ticket
        self._queue.put_nowait(ticket)
        return ticket

    def get(self, identity: str) -> Ticket:
        """Look up a job by its id, and count it as polled now."""
        ticket = self._tickets.get(identity)
        if ticket is None:
            raise Refused(404, "there is no such job; it was cancelled, or not polled, or its result has expired")
        ticket.seen = time.monotonic()
        return ticket

    def ahead(self, ticket: Ticket) -> int:
        """Number of jobs ahead in the queue."""
        waiting = [each.id for each in self._tickets.values() if each.state == "waiting"]
        return waiting.index(ticket.id) if ticket.id in waiting else 0

    def forget(self, ticket: Ticket) -> None:
        """Cancel a job unless it has ended, and delete its files; a second call has no effect."""
        if self._tickets.pop(ticket.id, None) is None:
            return
        was_running = ticket.state == "running"
        ticket.end("cancelled", Refused(*_REFUSALS["cancelled"]))
        if not was_running:  # otherwise its worker deletes them, after the process that writes there has ended
            shutil.rmtree(ticket.folder, ignore_errors=True)

    async def _work(self, slot: int) -> None:
        while (ticket := await self._queue.get()) is not None:
            if ticket.state != "waiting":
                continue
            ticket.state = "running"
            try:
                ticket.facts = await asyncio.to_thread(self._run, ticket, slot)
            except Refused as refused:
                ticket.end("failed", refused)
            if ticket.id not in self._tickets:  # forgotten while it was running
                shutil.rmtree(ticket.folder, ignore_errors=True)
                continue
            ticket.size = sum(file.stat().st_size for file in ticket.folder.iterdir())
            ticket.end("done")  # no effect if it failed

    def _run(self, ticket: Ticket, slot: int) -> dict[str, Any]:
        """Run a job's process and wait for it, in a thread; raises Refused."""

        def report(phase: str, done: int, total: int) -> None:
            ticket.phase, ticket.done, ticket.total = phase, done, total

        (upload,) = ticket.folder.glob("upload.*")
        try:
            return isolated_process.run(
                self.processes,
                worker.restore,
                self.cfg,
                ticket.job,
                upload,
                slot,
                report=report,
                cancelled=lambda: not ticket.is_open,
                timeout=self.limits.timeout,
            )
        except isolated_process.TaskError as problem:
            raise Refused(problem.status, problem.sentence) from problem
        except isolated_process.TaskEnded as ended:
            if ended.reason == "died":
                log.error("the process of job %s ended unexpectedly", ticket.id)
            raise Refused(*_REFUSALS[ended.reason]) from ended

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            self._drop_surplus()
            now = time.monotonic()
            for ticket in list(self._tickets.values()):
                since, patience = (
                    (ticket.seen, self.limits.patience)
                    if ticket.ended is None
                    else (ticket.ended, self.limits.keep_seconds)
                )
                if now > since + patience:
                    self.forget(ticket)

    def _drop_surplus(self) -> None:
        """Forget finished jobs until they are few and small enough: first the oldest job of the client that holds most.

        The newest job stays even if it alone is too large, because its client is waiting for it.
        """
        over = [ticket for ticket in self._tickets.values() if ticket.ended is not None]
        over.sort(key=lambda ticket: ticket.ended or 0)
        while len(over) > 1:
            too_many = len(over) > MOST_KEPT
            if not too_many and sum(ticket.size for ticket in over) <= self.limits.keep_bytes:
                return
            holds: Counter[str] = Counter()
            for ticket in over[:-1]:
                holds[ticket.client] += 1 if too_many else ticket.size
            greedy = holds.most_common(1)[0][0]
            oldest = next(ticket for ticket in over if ticket.client == greedy)
            over.remove(oldest)
            self.forget(oldest)


def _end_server(task: asyncio.Task[None]) -> None:
    """End the server, which would only seem to work after one of its loops has failed."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("an unexpected error ends the server", exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)
