"""Runs the application, and ends connections that send no request."""

import asyncio
import logging
import socket
from collections import Counter
from typing import Any, ClassVar, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from restore.web.limits import Limits

MOST_CONNECTIONS = 64  # of one address; a browser opens six


class PatientProtocol(H11Protocol):
    """HTTP/1.1, where the head of a request must arrive within ``read_seconds``: uvicorn alone would wait forever.

    Attributes:
        limits: of the server.
    """

    limits: ClassVar[Limits]
    open_connections: ClassVar[Counter[str]] = Counter()
    _late: asyncio.TimerHandle | None = None
    _peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection and start its clock."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._peer = self.client[0] if self.client else ""
        self.open_connections[self._peer] += 1
        if not self.limits.behind_proxy and self.open_connections[self._peer] > MOST_CONNECTIONS:
            self.transport.abort()
        self._time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection no longer."""
        if self._late is not None:
            self._late.cancel()
        self.open_connections[self._peer] -= 1
        if not self.open_connections[self._peer]:
            del self.open_connections[self._peer]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Stop the clock when the head has arrived."""
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
    """The socket to serve on, bound before long work.

    Raises:
        OSError: it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        raise OSError(f"host is {host} and port is {port}, which cannot be served ({error}); set others") from error


def run(app: Any, limits: Limits, listening: socket.socket) -> None:
    """Serve until a signal comes."""
    protocol = type("Protocol", (PatientProtocol,), {"limits": limits})
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each form that ends too late
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        access_log=False,
        log_config=None,
        log_level=logging.ERROR,  # else each hostile request would add a line
        proxy_headers=limits.behind_proxy,
        server_header=False,
        timeout_graceful_shutdown=2,  # seconds
    )
    uvicorn.Server(config).run(sockets=[listening])
