"""Limits before every route: each client's request rate, and the size of a body and the time it may take to arrive.

A body is read whole, within its limits, before it reaches a route, so that a slow or endless one costs at most
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

from restore.io.wording import counted
from restore.web.error_log import ErrorLog
from restore.web.limits import Limits, Refused

BESIDE = 65_536  # bytes of a request in addition to the image: fields, boundaries, headers of parts
DRAINED = 16_000_000  # bytes of an oversized body that are read and dropped, so that its sender sees the response
MOST_CLIENTS = 10_000  # number of addresses whose rates are stored

SERVER_ERROR = Refused(500, "the server failed to process this request; the reason is in its log")

# Gradio's routes that our page needs; its uploads, queue and files are closed
_GRADIO_ROUTES = ("/gradio_api/info", "/gradio_api/startup-events", "/gradio_api/app_id", "/gradio_api/heartbeat/")
_HEADERS = {
    # Gradio's scripts build functions and styles at run time; no other host is ever contacted
    b"content-security-policy": b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    b"frame-ancestors 'self'; form-action 'self'; base-uri 'self'; object-src 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}


class RateLimiter:
    """A token bucket per address, which holds one minute's requests and refills evenly.

    Args:
        per_minute: requests per minute and address. clock: returns seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self.clock = per_minute, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # address -> (tokens, time)

    def take(self, client: str) -> float:
        """Take a token if there is one; return the seconds until the next one, or 0 if one was taken."""
        now = self.clock()
        left, when = self._buckets.pop(client, (float(self.per_minute), now))
        left = min(self.per_minute, left + (now - when) * self.per_minute / 60)
        allowed = left >= 1
        self._buckets[client] = (
            left - 1 if allowed else left,
            now,
        )  # reinserted at the end, so that the first is the longest idle
        while len(self._buckets) > MOST_CLIENTS:
            del self._buckets[next(iter(self._buckets))]
        return 0.0 if allowed else (1 - left) * 60 / self.per_minute


class LimitsMiddleware:
    """ASGI middleware that refuses requests beyond the limits, and responds with 500 if the application fails.

    The header Host is checked here and not by Starlette's ``TrustedHostMiddleware``, which responds with status 400 in
    plain text. Ours sends 421 as HTTP specifies (RFC 9110, 15.5.20), in JSON like every refusal, and lists the valid
    names.

    Args:
        app: the application. limits: limits for clients. hosts: names this server answers to, or None for all; the
            check prevents DNS rebinding, where a page of another site resolves its own name to this machine.
    """

    def __init__(self, app: ASGIApp, limits: Limits, hosts: Iterable[str] | None) -> None:
        self.app, self.limits = app, limits
        self.hosts = None if hosts is None else frozenset(hosts)
        self.rates = RateLimiter(limits.requests_per_minute)
        self.errors = ErrorLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or respond with a refusal."""
        if scope["type"] != "http":  # startup and shutdown of the server
            await self.app(scope, receive, send)
            return
        send, started = self._limited(send)
        try:
            await self._serve(scope, receive, send)
        except (ClientGone, ClientDisconnect):
            return
        except Exception as error:  # noqa: BLE001 - an error fails only its own request
            self.errors.record(error)
            if not started():
                await error_response(SERVER_ERROR)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._refuse(scope)
            if scope["method"] not in ("GET", "HEAD", "DELETE"):
                receive = await self._read(scope, receive)
        except Refused as refused:
            await error_response(refused)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _refuse(self, scope: Scope) -> None:
        """Raise Refused if the headers of a request show that it is not allowed."""
        wait = self.rates.take(client_address(scope))
        if wait:
            raise Refused(
                429,
                f"expected at most {counted(self.limits.requests_per_minute, 'request')} a minute",
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
        if writes and (headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site") or self._is_foreign(headers)):
            raise Refused(403, "a page of another site may not use this server")
        if path.startswith("/gradio_api/") and not path.startswith(_GRADIO_ROUTES):
            raise Refused(404, "there is nothing at this address; the HTTP API is described in /openapi.json")
        if writes and not path.startswith("/api/"):
            raise Refused(405, "this address is read-only; send images to /api/restore")

    def _is_foreign(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a page of another origin sent this; browsers send Sec-Fetch-Site only over HTTPS or to this machine.

        A proxy may forward the host without its port, so behind a proxy only the names are compared.
        """
        origin = headers.get(b"origin")
        if origin is None:  # not sent by a page in a browser
            return False
        theirs, ours = (_address(each) for each in (origin, b"//" + headers.get(b"host", b"")))
        if self.limits.behind_proxy:
            theirs, ours = theirs[:1], ours[:1]
        return theirs[0] is None or theirs != ours

    async def _read(self, scope: Scope, receive: Receive) -> Receive:
        try:
            body = await asyncio.wait_for(self._body(scope, receive), self.limits.read_seconds)
        except asyncio.TimeoutError as error:
            raise Refused(
                408, f"the request did not arrive within {self.limits.read_seconds:g} seconds; send it faster"
            ) from error
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()  # reports when the client disconnects
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        return replay

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        room = self.limits.max_bytes + BESIDE
        if dict(scope["headers"]).get(b"content-type", b"").startswith(b"application/json"):
            room = math.ceil(self.limits.max_bytes * 4 / 3) + BESIDE  # base64
        body, length, more = bytearray(), 0, True
        while more and length <= max(room, DRAINED):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            length += len(message.get("body", b""))
            more = message.get("more_body", False)
            if length <= room:
                body += message.get("body", b"")
        if length > room:
            raise Refused(413, f"the request is larger than {self.limits.max_mb:g} MB; make the image's file smaller")
        return bytes(body)

    def _limited(self, send: Send) -> tuple[Send, Callable[[], bool]]:
        """``send`` with our headers and a timeout for clients that do not read; and whether the response began."""
        started = False

        async def timed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *_HEADERS.items()]
            try:
                await asyncio.wait_for(send(message), self.limits.timeout)
            except asyncio.TimeoutError as error:
                raise ClientGone from error

        return timed, lambda: started


def _address(url: bytes) -> tuple[str | None, ...]:
    """Host and port of an origin or of ``//host``; a default port counts as none."""
    try:
        parts = urlsplit(url.decode("latin-1"))
        port = None if parts.port in (80, 443) else parts.port
        return parts.hostname, None if port is None else str(port)
    except ValueError:
        return None, None


class ClientGone(Exception):
    """The client has disconnected, or does not read."""


def client_address(scope: Scope) -> str:
    """The address of a request's client, or ``unknown``."""
    return str(scope["client"][0]) if scope.get("client") else "unknown"


def error_response(refused: Refused) -> JSONResponse:
    """A refusal as a response."""
    headers = {} if refused.retry_after is None else {"retry-after": str(refused.retry_after)}
    return JSONResponse({"detail": refused.sentence}, refused.status, headers)
