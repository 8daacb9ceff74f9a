"""What stands before every route: an address's rate, the size of a body and the time it may take to arrive.

A body is read whole, within its limits, before anything else sees it, so that a slow or endless one costs at most
``max_mb`` of memory and ``read_seconds``.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from restore.web.error_log import Defects
from restore.web.limits import Limits, Refused

BESIDE = 65_536  # bytes of a request beside the picture: fields, boundaries, headers of parts
DRAINED = 16_000_000  # bytes of a too large body that are thrown away so that its sender sees the answer
MOST_CLIENTS = 10_000  # whose rates are remembered

DEFECT = Refused(500, "the server failed at this request; its log says why")

# of the page's library only what a page that talks to our own API needs; its uploads, queue and files stay shut
_PAGE_CALLS = ("/gradio_api/info", "/gradio_api/startup-events", "/gradio_api/app_id", "/gradio_api/heartbeat/")
_HEADERS = {
    # the library's scripts build functions and styles at run time; other hosts are never asked
    b"content-security-policy": b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    b"frame-ancestors 'self'; form-action 'self'; base-uri 'self'; object-src 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}


class Rates:
    """Requests of each address: a bucket that holds a minute's worth and fills evenly.

    Args:
        per_minute: of one address. clock: in seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self.clock = per_minute, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # address -> (left, when that was so)

    def take(self, client: str) -> float:
        """Seconds until the address may ask again; 0 lets it in."""
        now = self.clock()
        left, when = self._buckets.pop(client, (float(self.per_minute), now))
        left = min(self.per_minute, left + (now - when) * self.per_minute / 60)
        let_in = left >= 1
        self._buckets[client] = (left - 1 if let_in else left, now)  # last, so that the first was silent for longest
        while len(self._buckets) > MOST_CLIENTS:
            del self._buckets[next(iter(self._buckets))]
        return 0.0 if let_in else (1 - left) * 60 / self.per_minute


class Gate:
    """ASGI middleware.

    Args:
        app: what stands behind. limits: see there. hosts: names this server answers to, or None for all; a page of
            another site that makes its name point here is refused so.
    """

    def __init__(self, app: ASGIApp, limits: Limits, hosts: Iterable[str] | None) -> None:
        self.app, self.limits = app, limits
        self.hosts = None if hosts is None else frozenset(hosts)
        self.rates = Rates(limits.requests_per_minute)
        self.defects = Defects()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or answer with a refusal."""
        if scope["type"] != "http":  # the server's own start and end
            await self.app(scope, receive, send)
            return
        send, begun = self._sending(send)
        try:
            await self._serve(scope, receive, send)
        except (Gone, ClientDisconnect):
            return
        except Exception as defect:  # noqa: BLE001 - whatever it is, it costs its sender the answer and nobody more
            self.defects.tell(defect)
            if not begun():
                await answer(DEFECT)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._look(scope)
            if scope["method"] not in ("GET", "HEAD", "DELETE"):
                receive = await self._read(scope, receive)
        except Refused as refused:
            await answer(refused)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _look(self, scope: Scope) -> None:
        wait = self.rates.take(address(scope))
        if wait:
            raise Refused(
                429,
                f"expected at most {self.limits.requests_per_minute} requests a minute",
                retry_after=math.ceil(wait),
            )
        headers = dict(scope["headers"])
        try:
            host = urlsplit("//" + headers.get(b"host", b"").decode("latin-1")).hostname
        except ValueError as error:
            raise Refused(400, "the header Host is no host name, expected for example localhost:7860") from error
        if self.hosts is not None and host not in self.hosts:
            raise Refused(421, f"this server answers to {', '.join(sorted(self.hosts))} only")
        path, writes = scope["path"], scope["method"] not in ("GET", "HEAD")
        if writes and headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
            raise Refused(403, "a page of another site may not use this server")
        if path.startswith("/gradio_api/") and not path.startswith(_PAGE_CALLS):
            raise Refused(404, "there is nothing here; the HTTP API is described in /openapi.json")
        if writes and not path.startswith("/api/"):
            raise Refused(405, "this address is only to be read; pictures go to /api/restore")

    async def _read(self, scope: Scope, receive: Receive) -> Receive:
        try:
            body = await asyncio.wait_for(self._body(scope, receive), self.limits.read_seconds)
        except asyncio.TimeoutError as error:
            raise Refused(
                408, f"the request did not arrive within {self.limits.read_seconds:g} seconds; send it faster"
            ) from error
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()  # says when the client has left
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return replay

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        room = self.limits.max_bytes + BESIDE
        if dict(scope["headers"]).get(b"content-type", b"").startswith(b"application/json"):
            room = math.ceil(self.limits.max_bytes * 4 / 3) + BESIDE  # base64
        body, length, more = bytearray(), 0, True
        while more and length <= DRAINED:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            length += len(message.get("body", b""))
            more = message.get("more_body", False)
            if length <= room:
                body += message.get("body", b"")
        if length > room:
            raise Refused(413, f"the request is larger than {self.limits.max_mb:g} MB; make the picture's file smaller")
        return bytes(body)

    def _sending(self, send: Send) -> tuple[Send, Callable[[], bool]]:
        """With our headers, and an end to clients that take nothing; and whether an answer has begun."""
        begun = False

        async def timed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", ()), *_HEADERS.items()]
            try:
                await asyncio.wait_for(send(message), self.limits.timeout)
            except asyncio.TimeoutError as error:
                raise Gone from error

        return timed, lambda: begun


class Gone(Exception):
    """The client left, or takes nothing."""


def address(scope: Scope) -> str:
    """Whose request it is, as far as can be told."""
    return str(scope["client"][0]) if scope.get("client") else "unknown"


def answer(refused: Refused) -> JSONResponse:
    """A refusal as a response."""
    headers = {} if refused.retry_after is None else {"retry-after": str(refused.retry_after)}
    return JSONResponse({"detail": refused.sentence}, refused.status, headers)
