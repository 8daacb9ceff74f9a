"""An upload is read in the job's process, within limits of memory and time."""

import contextlib
import dataclasses
import io
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from restore.image import reading
from restore.image.decoding import register_heic
from restore.web import worker
from restore.web.isolated_process import TaskError
from restore.web.process_limits import TooSlow, limited_memory, limited_time
from restore.web.request import Job
from tests.web.conftest import Server, family
from tests.web.test_limits import encoded, png_that_claims

JOB = Job(
    method="bicubic", ckpt_path="bicubic", scale=2, enlarges=2, part_side=None, steps=None, seconds=1, start=None,
    kernel=None, noise=None, degradation=None, seed=0, metadata="keep", compare=False, max_side=100,
    max_output_side=400,
)  # fmt: skip


def many_entries(count: int, total: int = 1_000_000) -> bytes:
    """A TIFF of 8x8 px whose directory names the same bytes again and again."""
    fields = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
    fields += [(278, 3, 1, 8), (279, 4, 1, 64)]
    start = 8 + 2 + 12 * (len(fields) + 1 + count) + 4
    fields += [(273, 4, 1, start)] + [(1001 + k, 7, total - start, start) for k in range(count)]
    body = b"".join(struct.pack("<HHII", *field) for field in sorted(fields))
    return struct.pack("<2sHIH", b"II", 42, 8, len(fields)) + body + bytes(4) + bytes(total - start)


def with_exif(exif: bytes) -> bytes:
    data = encoded("JPEG")
    parts = [exif[k : k + 65_000] for k in range(0, len(exif), 65_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", 8 + len(part)) + b"Exif\0\0" + part for part in parts)
    return data[:2] + segments + data[2:]


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (encoded("PNG")[:20], 422, "cannot be read"),
        (b"\xff\xd8\xff\xe0" + bytes(50), 422, "cannot be read"),
        (encoded("PNG", (101, 3)), 413, "101x3 px, expected at most 100"),
        (png_that_claims(60_000, 60_000), 422, "cannot be read"),
        (png_that_claims(5000, 5000), 413, "5000x5000"),
    ],
)
def test_a_header_is_judged_in_the_job(data: bytes, status: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "upload.png").write_bytes(data)
    with pytest.raises(TaskError, match=said) as refused:
        worker._read(tmp_path / "upload.png", JOB)
    assert refused.value.status == status
    assert str(tmp_path) not in refused.value.sentence


@pytest.mark.parametrize(
    ("suffix", "width", "height"), [(".jpg", 4000, 3000), (".heic", 400, 300), (".avif", 400, 300)]
)
def test_a_photo_of_a_phone_is_read_within_the_limits_of_a_server_for_this_machine(
    suffix: str, width: int, height: int, tmp_path: Path
) -> None:
    register_heic()
    Image.new("RGB", (width, height), "grey").save(tmp_path / f"upload{suffix}")
    job = dataclasses.replace(JOB, max_side=8000, max_output_side=16384)
    assert worker._read(tmp_path / f"upload{suffix}", job).pixels.shape == (3, height, width)


@pytest.mark.parametrize(
    ("error", "status"), [(MemoryError(), 422), (TooSlow(), 422), (ValueError("upload.png: damaged"), 422)]
)
def test_what_a_reader_takes_too_much_of_is_a_refusal(
    error: BaseException, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(reading, "read", fail)
    with pytest.raises(TaskError) as refused:
        worker._read(tmp_path / "upload.png", JOB)
    assert refused.value.status == status


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory")])
def test_a_restoration_without_memory_is_refused(error: Exception) -> None:
    with pytest.raises(TaskError, match="more memory") as refused, worker._limited(1, JOB):
        raise error
    assert refused.value.status == 413


def test_another_error_of_torch_stays_one() -> None:
    with pytest.raises(RuntimeError, match="shape"), worker._limited(1, JOB):
        raise RuntimeError("shape")


def test_memory_beyond_the_limit_is_refused_and_the_limit_ends() -> None:
    with pytest.raises(MemoryError), limited_memory(50_000_000):
        bytearray(400_000_000)
    assert len(bytearray(400_000_000)) == 400_000_000


def catch_all() -> None:
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.001)


def test_time_beyond_the_limit_ends_what_catches_every_error() -> None:
    with pytest.raises(TooSlow), limited_time(0.05):
        catch_all()


@pytest.mark.parametrize("count", [1500, 40_000])
@pytest.mark.parametrize("make", [many_entries, lambda count: with_exif(many_entries(count, 900_000))])
def test_entries_that_point_at_the_same_bytes_are_not_copied(make: Any, count: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(make(count))
    with limited_memory(200_000_000):
        assert reading.read(tmp_path / "a", metadata="keep").pixels.shape[1:] in ((8, 8), (20, 30))


@pytest.mark.slow
def test_the_server_itself_stays_small(server: Server) -> None:
    def own() -> int:
        return int((Path("/proc") / str(server.process.pid) / "statm").read_text().split()[1]) * 4096

    before = own()
    for data in (many_entries(1500, 900_000), with_exif(many_entries(1500, 900_000)), many_entries(40_000, 900_000)):
        answer = server.restore(data, method="bicubic", scale=2)
        assert answer.status == 200, answer
        with Image.open(io.BytesIO(answer.body)) as file:
            assert file.size in ((16, 16), (60, 40))
    assert own() < before + 30_000_000
    assert family(server.process.pid)
