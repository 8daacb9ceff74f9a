"""Runs the application, and closes connections that send no request."""

import asyncio
import logging
import socket
from collections import Counter
from typing import Any, ClassVar, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from restore.web.limits import Limits

MOST_CONNECTIONS = 64  # per address; a browser opens six


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with a time limit: headers must arrive within ``read_seconds``; uvicorn alone would wait forever.

    Attributes:
        limits: the server's limits.
    """

    limits: ClassVar[Limits]
    open_connections: ClassVar[Counter[str]] = Counter()
    _late: asyncio.TimerHandle | None = None
    _peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection and start its timer."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._peer = self.client[0] if self.client else ""
        self.open_connections[self._peer] += 1
        if not self.limits.behind_proxy and self.open_connections[self._peer] > MOST_CONNECTIONS:
            self.transport.abort()
        self._time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection."""
        if self._late is not None:
            self._late.cancel()
        self.open_connections[self._peer] -= 1
        if not self.open_connections[self._peer]:
            del self.open_connections[self._peer]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Stop the timer when the headers have arrived."""
        super().data_received(data)
        self._time()

    def _time(self) -> None:
        waits = self.conn.their_state is h11.IDLE
        if waits and self._late is None:
            self._late = self.loop.call_later(self.limits.read_seconds, self.transport.abort)
        elif not waits and self._late is not None:
            self._late.cancel()
            self._late = None


def listen(host: str, port: int) -> socket.socket:
    """Open the server's socket, before slow work begins.

    Raises:
        OSError: the address is in use or cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        raise OSError(
            f"host is {host} and port is {port}, which cannot be used ({error}); set another port or host"
        ) from error


def run(app: Any, limits: Limits, listening: socket.socket) -> None:
    """Serve until a signal arrives."""
    protocol = type("Protocol", (PatientProtocol,), {"limits": limits})
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it would warn about every truncated form
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        access_log=False,
        log_config=None,
        log_level=logging.ERROR,  # otherwise each hostile request would add a line
        proxy_headers=limits.behind_proxy,
        server_header=False,
        timeout_graceful_shutdown=2,  # seconds
    )
    uvicorn.Server(config).run(sockets=[listening])
