"""Hostile uploads of many kinds against a real server, and another visitor, from another address, meanwhile."""

import base64
import contextlib
import functools
import io
import json
import os
import pickle
import random
import re
import socket
import struct
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.conftest import photo
from tests.image.test_hostile_files import hostile
from tests.web.conftest import Server, multipart, wait_until
from tests.web.test_limits import encoded, png_that_claims

pytestmark = pytest.mark.slow

ATTACKER = "127.0.0.2"  # the visitor is 127.0.0.1
SHARE = int(os.environ.get("RESTORE_HOSTILE_FILES", "20"))  # of the files made to cost a reader much
ROUNDS = 3  # a content type each
ONCE = ("claim", "all there", "header alone", "one long row", "first bytes")  # the same in each round, and read anew


class Payload:
    """A pickle of it asks who opens it to run a command."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (Path(self.marker),))


def archive(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, bytes(1_000_000))
    return buffer.getvalue()


def flipped(data: bytes, seed: int) -> bytes:
    """With wrong bytes behind its header."""
    chance, wrong = random.Random(seed), bytearray(data)
    for _ in range(8):
        wrong[chance.randrange(len(wrong) // 3, len(wrong))] ^= 1 << chance.randrange(8)
    return bytes(wrong)


def noise(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def deep_tiff(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((8, 8, 3), np.uint16), photometric="rgb")
    data = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for tag, value in (("ImageWidth", width), ("ImageLength", height)):
            struct.pack_into("<I", data, file.pages.first.tags[tag].valueoffset, value)
    return bytes(data)


@functools.cache
def whole_bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(buffer, "PNG")
    return buffer.getvalue()


# each is what stands in the file of an otherwise proper upload; none can be restored
PICTURES: dict[str, Callable[[int], bytes]] = {
    "empty": lambda k: b"",
    "text": lambda k: b"hello " * k,
    "svg": lambda k: b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "html": lambda k: b"<!doctype html><script>alert(1)</script>",
    "zip": lambda k: archive("a.png"),
    "pickle": lambda k: pickle.dumps(Payload("/tmp/restore-was-here")),
    "postscript": lambda k: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n",
    "gif": lambda k: encoded("GIF", mode="L"),
    "svg behind a jpeg's first bytes": lambda k: b"\xff\xd8\xff<svg onload=alert(1)>",
    "png, truncated": lambda k: noise("PNG")[: -900 - k],
    "jpeg, truncated": lambda k: noise("JPEG")[: -900 - k],
    "webp, truncated": lambda k: noise("WEBP", lossless=True)[: -900 - k],
    "png, flipped": lambda k: flipped(noise("PNG"), k),
    "png, header alone": lambda k: noise("PNG")[:33],
    "png that claims 60000x60000": lambda k: png_that_claims(60_000, 60_000),
    "png that claims 2000x2000": lambda k: png_that_claims(2000, 2000),
    "png of 12000x12000, all there": lambda k: whole_bomb(),
    "png of one long row": lambda k: encoded("PNG", (30_000, 1)),
    "bmp that claims much": lambda k: (
        b"BM" + struct.pack("<IHHIIiiHH", 99, 0, 0, 54, 40, 99_999, -99_999, 1, 24) + bytes(24)
    ),
    "tiff that claims much": lambda k: deep_tiff(50_000, 50_000),
    "tiff that holds less": lambda k: deep_tiff(1500, 1500)[: 400 + k],
    "too many bytes": lambda k: b"\x89PNG\r\n\x1a\n" + bytes(1_050_000),
}


NAMES = (
    "a.png",
    "../../../../tmp/restore-was-here",
    "..\\\\a.png",
    "/etc/passwd",
    "a.png\\0.svg",
    "x" * 300,
    "CON",
    ".",
)

DROPPED = ("a slow head", "gone in mid-upload", "gone in mid-job")  # nobody is told anything


def send(server: Server, data: bytes) -> bytes:
    """Raw bytes from the attacker's address; what comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), 30, source_address=(ATTACKER, 0)) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return received(connection)


def received(connection: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
            if b"\r\n\r\n" in b"".join(parts) and b"connection: close" not in parts[0].lower():
                break  # a whole answer; ours are short
    return b"".join(parts)


def request(body: bytes, content_type: str, length: int | None = None, path: str = "/api/restore") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def slowly(server: Server, data: bytes, at_once: int) -> bytes:
    """The first bytes at once, the others now and then, until the server has had enough."""
    with socket.create_connection(("127.0.0.1", server.port), 30, source_address=(ATTACKER, 0)) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data[:at_once])
            for at in range(at_once, len(data)):
                connection.sendall(data[at : at + 1])
                time.sleep(0.2)
                connection.setblocking(False)
                try:
                    if connection.recv(1, socket.MSG_PEEK) == b"":
                        return b""
                    break
                except BlockingIOError:
                    connection.setblocking(True)
        connection.setblocking(True)
        return received(connection)


def leave(server: Server, data: bytes) -> bytes:
    """Send and hang up without waiting."""
    with socket.create_connection(("127.0.0.1", server.port), 30, source_address=(ATTACKER, 0)) as connection:
        connection.sendall(data)
        time.sleep(0.05)
    return b""


def requests(k: int, picture: bytes) -> Iterator[tuple[str, Callable[[Server], bytes]]]:
    """Requests that are hostile as such, whatever is in them."""
    body, kind = multipart(picture, filename=NAMES[k % len(NAMES)], method="none")
    good, good_kind = multipart(picture, method="zero_shot", steps=50, seconds=600, scale=4)
    parts = (
        b"".join(b'--b\r\nContent-Disposition: form-data; name="x%d"\r\n\r\n1\r\n' % n for n in range(500)) + b"--b--"
    )
    fields = multipart(picture, method="x" * 100_000)
    huge = b'{"image": "%s", "method": "bicubic", "scale": 1e307}' % base64.b64encode(picture)
    yield "a path for a name", lambda server: send(server, request(body, kind))
    yield "500 parts", lambda server: send(server, request(parts, "multipart/form-data; boundary=b"))
    yield (
        "20 files",
        lambda server: send(server, request(body.replace(b"--" + kind[-32:].encode() + b"--", b"") * 20, kind)),
    )
    yield "a long field", lambda server: send(server, request(*fields))
    yield "no boundary", lambda server: send(server, request(body, "multipart/form-data"))
    yield "no form", lambda server: send(server, request(picture, "image/png"))
    yield "a form cut off", lambda server: send(server, request(body[:-40], kind))
    yield "nested JSON", lambda server: send(server, request(b'{"image":' + b"[" * 90_000, "application/json"))
    yield "JSON that is no picture", lambda server: send(server, request(b'{"image": "\\u0000"}', "application/json"))
    yield "a scale beyond numbers", lambda server: send(server, request(*multipart(picture, scale="1e308")))
    yield "a scale beyond numbers, JSON", lambda server: send(server, request(huge, "application/json"))
    for host in ("[", "[::1", "]"):
        yield f"{host} for a host", functools.partial(send, data=f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    yield "the page's own upload", lambda server: send(server, request(body, kind, path="/gradio_api/upload"))
    yield "a long head", lambda server: send(server, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 30_000)
    yield "no HTTP", lambda server: send(server, bytes(range(256)) * 10)
    if k == 0:
        yield "a body of 20 MB", lambda server: send(server, request(bytes(20_000_000), kind))
        yield "a slow body", lambda server: slowly(server, request(body, kind), 500)
        yield "a slow head", lambda server: slowly(server, b"POST /api/restore HTTP/1.1\r\nHost: localhost\r\n", 5)
        yield "gone in mid-upload", lambda server: leave(server, request(body[:2000], kind, len(body)))
        yield "gone in mid-job", lambda server: leave(server, request(good, good_kind))


def hammer(server: Server) -> Counter[bytes]:
    """Tiny requests from an address of their own until there are too many of them; how they were answered.

    A hundred are sent at a time before their answers are read, so that they come faster than the limit whatever the
    machine's speed.
    """
    statuses: Counter[bytes] = Counter()
    tiny, line = b"GET /api/jobs/none HTTP/1.1\r\nHost: localhost\r\n\r\n", re.compile(rb"HTTP/1\.1 (\d+) ")
    with socket.create_connection(("127.0.0.1", server.port), 300, source_address=("127.0.0.3", 0)) as connection:
        while statuses.total() < 10_000 and not statuses[b"429"]:
            connection.sendall(tiny * 100)
            answers = b""
            while len(found := line.findall(answers)) < 100:
                part = connection.recv(65536)
                assert part, answers
                answers += part
            statuses.update(found)
    return statuses


def test_a_hundred_hostile_uploads(server: Server, tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png").read_bytes()
    assert server.restore(picture).status == 200
    assert wait_until(lambda: not any("/jobs/" in name for name in server.files()))  # of tests before this one
    files, memory = server.files(), server.resident()
    stop, visits = threading.Event(), list[int]()

    def visit() -> None:
        while not stop.is_set():
            visits.append(server.restore(picture, method="tiny").status)
            stop.wait(2)

    visitor = threading.Thread(target=visit)
    visitor.start()
    counts: Counter[str] = Counter()
    try:
        for k in range(ROUNDS):
            for name, make in PICTURES.items():
                if k > 0 and any(words in name for words in ONCE):
                    continue
                counts[name] += 1
                kind = ("image/png", "image/jpeg", "text/html")[k % 3]
                body, content_type = multipart(make(k), NAMES[k % len(NAMES)], kind)
                answer = server.ask("POST", "/api/restore", body, {"content-type": content_type}, ATTACKER)
                assert 400 <= answer.status < 500, (name, answer)
                assert len(json.loads(answer.body)["detail"]) > 10, (name, answer)
                assert str(server.folder).encode() not in answer.body
            for name, attack in requests(k, picture):
                counts[name] += 1
                said = attack(server)
                assert said.startswith(b"HTTP/1.1 4") or (said == b"" and name in DROPPED), (name, said)
        tiny = hammer(server)
    finally:
        stop.set()
        visitor.join()
    assert set(tiny) == {b"404", b"429"}, tiny
    assert tiny[b"404"] >= 600, tiny
    assert len(counts) >= 12
    assert counts.total() >= 100
    assert set(visits) == {200}, visits
    assert not Path("/tmp/restore-was-here").exists()
    assert wait_until(lambda: server.files() == files), server.files() - files
    assert server.restore(picture).status == 200
    assert wait_until(lambda: server.resident() < memory + 100_000_000), server.resident() - memory
    assert server.process.poll() is None
    log = server.log.read_text()
    assert "Traceback" not in log, log


def test_a_share_of_the_files_made_to_cost_a_reader_much(server: Server) -> None:
    memory, kinds = server.resident(), set[str]()
    for number in range(SHARE):
        kind, data = hostile(number)
        kinds.add(kind)
        body, content_type = multipart(data, method="tiny")
        answer = server.ask("POST", "/api/restore", body, {"content-type": content_type}, ATTACKER)
        assert answer.status == 200 or 400 <= answer.status < 500, (kind, answer)
        assert answer.status == 200 or len(json.loads(answer.body)["detail"]) > 10, (kind, answer)
    assert len(kinds) >= 15
    assert wait_until(lambda: server.resident() < memory + 50_000_000), server.resident() - memory
    assert server.process.poll() is None
    assert "Traceback" not in server.log.read_text()
