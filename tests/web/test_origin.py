"""Pages of other origins may not send anything, whatever a browser says about them."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from restore.web import server
from restore.web.middleware import LimitsMiddleware
from tests.web.conftest import wait_until
from tests.web.test_limits import limits

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def application(*, behind_proxy: bool = False) -> LimitsMiddleware:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("served")

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "DELETE"])])
    return LimitsMiddleware(app, limits(behind_proxy=behind_proxy), None)


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        (None, "photos.lan:7860", 200),  # no browser
        ("http://photos.lan:7860", "photos.lan:7860", 200),
        ("https://photos.lan", "photos.lan", 200),
        ("https://photos.lan", "photos.lan:443", 200),
        ("http://[::1]:7860", "[::1]:7860", 200),
        ("http://PHOTOS.lan:7860", "photos.lan:7860", 200),
        ("http://evil.example", "photos.lan:7860", 403),
        ("http://photos.lan:8000", "photos.lan:7860", 403),
        ("http://photos.lan.evil.example:7860", "photos.lan:7860", 403),
        ("http://photos.lan:7860@evil.example", "photos.lan:7860", 403),
        ("null", "photos.lan:7860", 403),
        ("", "photos.lan:7860", 403),
        ("http://[", "photos.lan:7860", 403),
        ("http://photos.lan:99999", "photos.lan:7860", 403),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_an_origin_must_be_the_host(method: str, origin: str | None, host: str, status: int) -> None:
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    client = TestClient(application())
    assert client.request(method, "/api/restore", headers=headers).status_code == status
    assert client.get("/api/methods", headers=headers).status_code == 200


def test_behind_a_proxy_that_leaves_the_port_out_the_names_are_compared() -> None:
    client = TestClient(application(behind_proxy=True))
    ours = {"host": "photos.lan", "origin": "https://photos.lan:8443"}
    assert client.post("/api/restore", headers=ours).status_code == 200
    assert client.post("/api/restore", headers=ours | {"origin": "https://evil.example:8443"}).status_code == 403


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>a page</title>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def foreign_page() -> Iterator[int]:
    """Port of a page of somebody else."""
    site = HTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    yield site.server_port
    site.shutdown()
    thread.join()
    site.server_close()


@pytest.fixture
def plain_http() -> Iterator[int]:
    """Port of the middleware, served."""
    listening = server.listen("127.0.0.1", 0)
    serving = uvicorn.Server(uvicorn.Config(application(), ws="none", log_config=None))
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
    thread.start()
    assert wait_until(lambda: serving.started)
    yield listening.getsockname()[1]
    serving.should_exit = True
    thread.join()


@pytest.mark.slow
def test_a_page_of_another_site_is_refused_over_plain_http(
    browser: "Browser", foreign_page: int, plain_http: int
) -> None:
    send = """async address => {
        const body = new FormData();
        body.append("image", new Blob(["x"]), "a.png");
        try { return (await fetch(address, {method: "POST", mode: "%s", body})).status } catch { return "refused" }
    }"""
    page = browser.new_page()
    ours = f"http://photos.test:{plain_http}"  # a name that a browser trusts no more than any other
    seen: list[tuple[str, int]] = []
    page.on("response", lambda response: seen.append((response.url, response.status)))
    page.goto(f"{ours}/")
    assert page.evaluate(send % "cors", f"{ours}/api/restore") == 200
    page.goto(f"http://evil.test:{foreign_page}/")
    page.evaluate(send % "no-cors", f"{ours}/api/restore")
    page.close()
    assert [status for url, status in seen if url.endswith("/api/restore")] == [200, 403]
