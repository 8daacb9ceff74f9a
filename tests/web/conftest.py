import http.client
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.checkpoints.test_model_card import write as write_checkpoint

SETTINGS = (
    "base64=true",
    "max_mb=1",
    "max_side=2048",
    "max_output_side=8192",
    "read_seconds=1",
    "patience=8",
    "keep_seconds=20",
    "queue=8",
    "jobs_per_client=4",
    "part_side=12",
    "max_seconds=600",  # a plan for fewer may fall back to bicubic where other tests run beside
    "threads=1",
    "zero_shot.max_steps=50",
)


class Answer(NamedTuple):
    """What the server said."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Server(NamedTuple):
    """A real server in a process of its own.

    Attributes:
        folder: everything temporary of its is in there. log: what it prints.
    """

    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    log: Path

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        source: str = "127.0.0.1",
    ) -> Answer:
        """One request from an address of this machine."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300, source_address=(source, 0))
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.read(), {k.lower(): v for k, v in response.getheaders()})
        finally:
            connection.close()

    def restore(self, picture: bytes, path: str = "/api/restore", source: str = "127.0.0.1", **fields: Any) -> Answer:
        """Send a picture."""
        body, content_type = multipart(picture, **fields)
        return self.ask("POST", path, body, {"content-type": content_type}, source)

    def files(self) -> set[str]:
        """What is in its temporary folder now."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}

    def resident(self) -> int:
        """Bytes of memory that it and its processes hold."""
        pages = [int((Path("/proc") / str(pid) / "statm").read_text().split()[1]) for pid in family(self.process.pid)]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def multipart(picture: bytes, filename: str = "a.png", kind: str = "image/png", **fields: Any) -> tuple[bytes, str]:
    """A form's body and its content type."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{filename}"\r\n'
    parts.append(head.encode() + f"Content-Type: {kind}\r\n\r\n".encode() + picture + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def family(pid: int) -> list[int]:
    """A process and all that came of it, as far as they live."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except FileNotFoundError:  # ended meanwhile
            continue
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def wait_until(true: Callable[[], object], seconds: float = 300) -> bool:
    """Ask again and again."""
    latest = time.monotonic() + seconds
    while time.monotonic() < latest:
        if true():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints: a tiny network."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(folder / "tiny.safetensors")
    return folder


@pytest.fixture(scope="session")
def server(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The command as users start it, on a free port."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "tmp").mkdir()
    log = folder / "log"
    served = f"ckpt_path=[{checkpoints},super_resolution_x2,zero_shot,bicubic,translation_emoji]"
    argv = [sys.executable, "-m", "restore.serve", "port=0", served, *SETTINGS]
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "COLUMNS": "200"}
    with log.open("wb") as file:
        process = subprocess.Popen(argv, cwd=folder, stdout=file, stderr=file, env=environment)
    try:
        assert wait_until(lambda: "serving" in log.read_text() or process.poll() is not None, 300)
        assert "http://127.0.0.1:" in log.read_text(), log.read_text()
        port = int(log.read_text().partition("http://127.0.0.1:")[2].split()[0])
        yield Server(process, port, folder / "tmp", log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 128 + signal.SIGTERM, log.read_text()
        assert list((folder / "tmp").glob("restore_serve_*")) == []  # nothing stays behind
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.kill()
        process.wait()
