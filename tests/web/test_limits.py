"""Limits, without a server: settings, headers of images, fields, rates, and the middleware before every route."""

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router
from starlette.testclient import TestClient

from restore.config.inference import ZeroShotTraining
from restore.image.decoding import register_heic
from restore.io.errors import SettingError
from restore.web import uploads
from restore.web.error_log import ErrorLog
from restore.web.limits import Limits, Refused
from restore.web.middleware import LimitsMiddleware, RateLimiter
from restore.web.request import Job, RequestFields, refuse_large_output, resolve

MENU = [
    {"name": "net", "ckpt_path": "a/net.ckpt", "scale": 2.0, "any_scale": False, "makes_new_image": False},
    {
        "name": "zero_shot",
        "ckpt_path": "zero_shot",
        "scale": 3.0,
        "any_scale": True,
        "max_steps": 100,
        "makes_new_image": False,
    },
]


def limits(**changes: Any) -> Limits:
    usual: dict[str, Any] = {
        "max_mb": 0.1,
        "max_side": 100,
        "max_output_side": 400,
        "part_side": 20,
        "max_seconds": 10.0,
        "timeout": 20.0,
        "queue": 2,
        "devices": 1,
        "jobs_per_client": 2,
        "requests_per_minute": 60,
        "read_seconds": 5.0,
        "patience": 5.0,
        "keep_seconds": 5.0,
        "keep_mb": 10.0,
        "base64": False,
        "behind_proxy": False,
    }
    return Limits(**(usual | changes))


def encoded(kind: str, size: tuple[int, int] = (30, 20), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind)
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def resolved(fields: RequestFields) -> Job:
    return resolve(fields, MENU, limits(), seed=5, compare=False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"max_mb": 0}, ("max_mb", 0)), ({"queue": -1}, ("queue", -1)), ({"max_seconds": 30}, ("max_seconds", "30"))],
)
def test_limits_that_leave_nothing_are_refused(changes: dict[str, Any], said: tuple[str, object]) -> None:
    with pytest.raises(SettingError) as error:
        limits(**changes)
    assert (error.value.key, error.value.got) == said


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        *(("PNG", ".png"), ("JPEG", ".jpg"), ("TIFF", ".tif"), ("WEBP", ".webp"), ("BMP", ".bmp")),
        *(("AVIF", ".avif"), ("HEIF", ".heic")),
    ],
)
def test_the_format_is_that_of_the_content(kind: str, suffix: str) -> None:
    if kind == "HEIF":
        register_heic()
    assert uploads.check(encoded(kind), limits()) == suffix


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"", 422, "empty"),
        (b"x" * 100_001, 413, "0.1 MB, expected at most 0.1"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not a PNG"),
        (encoded("GIF", mode="L"), 415, "not a PNG"),
    ],
)
def test_others_are_refused_in_a_sentence(data: bytes, status: int, said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        uploads.check(data, limits())
    assert refused.value.status == status


def test_fields_become_a_job() -> None:
    job = resolved(RequestFields())
    assert (job.ckpt_path, job.scale, job.enlarges, job.seconds, job.seed) == ("a/net.ckpt", None, 2, 10, 5)
    job = resolved(RequestFields(method="zero_shot", scale=2.5, steps=7, seconds=3, seed=9))
    assert (job.scale, job.steps, job.seconds, job.seed, job.part_side) == (2.5, 7, 3, 9, None)
    job = resolved(RequestFields(method="zero_shot"))
    assert job.scale == 3
    drawn = {resolved(RequestFields(method="zero_shot", mode="part")).seed for _ in range(5)}
    assert len(drawn) > 1
    job = resolved(RequestFields(method="zero_shot", mode="part"))
    assert (job.scale, job.part_side) == (8, 20)
    refuse_large_output((100, 100), job)  # the part alone counts: 160 px
    assert resolved(RequestFields(mode="part")).method == "zero_shot"  # the first method has a scale of its own


def test_a_job_changes_only_what_was_asked_for() -> None:
    own = ZeroShotTraining(start="scratch", model={"width": 8, "kernel": "k.npy"}, data={"noise": 0.1})
    usual = resolved(RequestFields(method="zero_shot")).training(own)
    assert (usual.start, usual.model, usual.data) == ("scratch", own.model, own.data)
    asked = RequestFields(method="zero_shot", start="photos", kernel="bicubic", noise=0.0, steps=3)
    training = resolved(asked).training(own)
    assert (training.start, training.max_steps) == ("photos", 3)
    assert (training.model, training.data) == ({"width": 8, "kernel": None}, {"noise": 0.0})
    estimated = resolved(RequestFields(method="zero_shot", kernel="estimate")).training(own)
    assert estimated.model["kernel"] == "estimate"
    assert (
        resolved(RequestFields(method="zero_shot", degradation="auto")).training(ZeroShotTraining()).degradation
        == "auto"
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"method": "other"}, "method is 'other', expected net, zero_shot"),
        ({"scale": 4}, "scale is 4, but net was trained for 2"),
        ({"method": "net", "mode": "part"}, "enlarges 8 times, but net"),
        ({"method": "zero_shot", "mode": "part", "scale": 2}, "scale is 2, but mode=part"),
        ({"method": "zero_shot", "seconds": 11}, "seconds is 11, expected at most 10"),
        ({"method": "zero_shot", "steps": 101}, "steps is 101, expected at most 100"),
    ],
)
def test_fields_that_fit_no_method_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        resolved(RequestFields(**fields))


@pytest.mark.parametrize("scale", [1e308, 1e307, "1e308", 10**400, "nan", "inf", 16.01, 0, -1])
def test_a_scale_that_no_picture_bears_is_refused(scale: Any) -> None:
    with pytest.raises(ValidationError, match="scale"):
        RequestFields.model_validate({"method": "zero_shot", "scale": scale})
    assert resolved(RequestFields(method="zero_shot", scale=16)).enlarges == 16


def test_a_large_result_is_refused_before_the_work() -> None:
    job = resolved(RequestFields(method="zero_shot", scale=5))
    refuse_large_output((80, 80), job)
    with pytest.raises(Refused, match="would have 405 px on its longer side, expected at most 400"):
        refuse_large_output((81, 2), job)


def test_rates_fill_evenly_and_addresses_do_not_share() -> None:
    now = 0.0
    rates = RateLimiter(60, lambda: now)
    assert all(rates.take("a") == 0 for _ in range(60))
    assert rates.take("a") == pytest.approx(1)
    assert rates.take("b") == 0
    now = 1.01
    assert rates.take("a") == 0
    assert rates.take("a") > 0
    now = 1000.0
    assert [rates.take("a") for _ in range(61)].count(0) == 60


def test_rates_forget_who_was_silent_for_longest() -> None:
    rates = RateLimiter(1, lambda: 0.0)
    for number in range(20_000):
        assert rates.take(f"10.0.{number // 256}.{number % 256}") == 0
    assert len(rates._buckets) == 10_000
    assert rates.take("10.0.78.31") > 0  # the last one
    assert rates.take("10.0.0.0") == 0


def client(given: Limits, hosts: list[str] | None = None) -> TestClient:
    async def length(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    app = Starlette(routes=[Route("/{path:path}", length, methods=["GET", "POST", "DELETE"])])
    return TestClient(LimitsMiddleware(app, given, hosts))


def test_the_middleware_lets_in_and_adds_its_headers() -> None:
    answer = client(limits()).post("/api/restore", content=b"x" * 100_000)
    assert (answer.status_code, answer.text) == (200, "100000")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client(limits()).get("/").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/", {}, 405),
        ("DELETE", "/theme.css", {}, 405),
        ("POST", "/gradio_api/upload", {}, 404),
        ("POST", "/gradio_api/queue/join", {}, 404),
        ("GET", "/gradio_api/file=/etc/passwd", {}, 404),
        ("GET", "/gradio_api/proxy=http://127.0.0.1/", {}, 404),
        ("POST", "/api/restore", {"sec-fetch-site": "cross-site"}, 403),
        ("GET", "/api/methods", {"host": "evil.example"}, 421),
        ("GET", "/api/methods", {"host": "["}, 400),
        ("GET", "/", {"host": "[::1"}, 400),
        ("POST", "/api/restore", {"host": "]"}, 400),
    ],
)
def test_the_middleware_keeps_shut_what_the_page_does_not_need(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = client(limits(), ["testserver"]).request(method, path, headers=headers)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_the_middleware_counts_bytes_and_requests() -> None:
    asking = client(limits(requests_per_minute=3))
    assert asking.post("/api/restore", content=b"x" * 200_000).status_code == 413
    chunks = (b"x" * 1000 for _ in range(200))  # no content-length
    assert asking.post("/api/restore", content=chunks).status_code == 413
    assert asking.get("/").status_code == 200
    late = asking.get("/")
    assert late.status_code == 429
    assert 0 < int(late.headers["retry-after"]) <= 20


def test_an_error_is_answered_without_details_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Request) -> PlainTextResponse:
        raise ArithmeticError("what nobody shall see")

    async def fail_half_way(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise LookupError("what nobody shall see")

    asking = TestClient(LimitsMiddleware(Router([Route("/", fail)]), limits(), None))
    for _ in range(3):
        answer = asking.get("/")
        assert answer.status_code == 500
        assert "the server failed to process this request" in answer.json()["detail"]
        assert "nobody" not in answer.text
    assert TestClient(LimitsMiddleware(fail_half_way, limits(), None)).get("/").status_code == 200
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ArithmeticError, LookupError]


@pytest.mark.parametrize("now", [0.0, 46.663, 139.987, 3600.0, 1e9])
def test_an_error_is_logged_at_once_whatever_the_clock_shows(caplog: pytest.LogCaptureFixture, now: float) -> None:
    """Also on a machine that was just started: 46.663 - 3600 + 3600 is rounded to more than 46.663."""
    try:
        int("x")
    except ValueError as error:
        ErrorLog(lambda: now).record(error)
    assert len(caplog.messages) == 1


def test_an_error_is_logged_again_after_an_hour_with_its_number(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    errors = ErrorLog(lambda: now)

    def fail(text: str) -> None:
        try:
            int(text)
        except ValueError as error:
            errors.record(error)

    for _ in range(5):
        fail("x")
        now += 60
    try:
        int("another place, the same library")
    except ValueError as error:
        errors.record(error)
    assert caplog.messages == ["internal error: a request was answered with 500"] * 2
    now += 3600
    fail("y")
    again = "internal error: a request was answered with 500, and 4 more since it was last logged"
    assert caplog.messages[2:] == [again]
    fail("y")
    assert len(caplog.messages) == 3
