"""The page in a real browser, against a real server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests.conftest import Cli, photo
from tests.web.conftest import Server, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.slow

PATIENCE = 300_000  # milliseconds; other tests run beside this one


@pytest.fixture
def page(browser: "Browser", server: Server) -> Iterator["Page"]:
    """The page, loaded; it may ask no other host, and no script of it may fail."""
    page = browser.new_page(viewport={"width": 1100, "height": 760})
    page.set_default_timeout(PATIENCE)
    hosts, faults = set[str](), list[str]()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.wait_for_selector("#restore-go")
    yield page
    page.close()
    assert hosts - {""} == {f"127.0.0.1:{server.port}"}
    assert [fault for fault in faults if "status of 4" not in fault] == []  # refusals are logged by the browser


def until(page: "Page", words: str) -> str:
    """The status line, once it says these words."""
    page.wait_for_function("words => document.getElementById('restore-status').textContent.includes(words)", arg=words)
    return page.inner_text("#restore-status")


def send(page: "Page") -> None:
    """Click, and wait until the image is sent: by then the status no longer says what came of the one before."""
    with page.expect_request(lambda request: request.method == "POST"):
        page.click("#restore-go")


def test_a_visitor_restores_a_photo(page: "Page", server: Server, checkpoints: Path, cli: Cli, tmp_path: Path) -> None:
    source = photo(tmp_path / "holiday photo.jpg", 40, 60)
    page.set_input_files("#restore-file", source)
    assert wait_until(lambda: page.evaluate("document.getElementById('restore-preview').naturalWidth") == 60)
    assert "holiday photo.jpg" in page.inner_text("#restore-drop")
    assert not page.is_visible("#restore-slider")
    page.click("#restore-go")
    until(page, "done: tiny, 120x80 px")

    # the result is drawn right of the handle, which the visitor moves
    result = page.locator("#restore-slider img").nth(1)
    result.wait_for()
    assert wait_until(lambda: result.evaluate("image => image.complete && image.naturalWidth") == 120)
    before = result.evaluate("image => image.style.clipPath")
    handle = page.locator("#restore-slider [data-testid=slider] .inner").bounding_box()
    assert handle is not None
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 120, y, steps=4)
    page.mouse.up()
    after = result.evaluate("image => image.style.clipPath")
    shares = [float(re.findall(r"([\d.]+)%", clip)[-1]) for clip in (before, after)]
    assert shares[1] < shares[0] - 10
    page.mouse.move(x - 60, y)

    def turn_the_wheel() -> bool:
        page.mouse.wheel(0, -300)  # again and again, as a visitor does: the slider may drop a turn while it lays out
        return float(result.evaluate("image => new DOMMatrix(getComputedStyle(image).transform).a")) > 1.04

    assert wait_until(turn_the_wheel)

    with page.expect_download() as download:
        page.click("#restore-download")
    assert download.value.suggested_filename == "holiday photo_x2.png"
    download.value.save_as(tmp_path / "downloaded.png")
    made = cli(
        "predict",
        'input="holiday photo.jpg"',
        "output=made.png",
        "threads=1",
        f"ckpt_path={checkpoints}/tiny.safetensors",
    )
    assert made.status == 0, made.err
    assert (tmp_path / "downloaded.png").read_bytes() == (tmp_path / "made.png").read_bytes()

    # the result stays when the next one fails
    (tmp_path / "no image.png").write_text("no image")
    page.set_input_files("#restore-file", tmp_path / "no image.png")
    page.click("#restore-go")
    until(page, "not a PNG, JPEG")
    assert page.get_attribute("#restore-status", "class") == "error"
    assert page.get_attribute("#restore-download", "download") == "holiday photo_x2.png"
    assert wait_until(lambda: result.evaluate("image => image.complete && image.naturalWidth") == 120)


def test_a_visitor_cancels_and_takes_the_random_part(page: "Page", tmp_path: Path) -> None:
    page.click("#restore-go")
    until(page, "choose an image first")
    # it takes minutes to enlarge this by zero-shot, so that it is not done before it is cancelled
    page.set_input_files("#restore-file", photo(tmp_path / "a.png", 500, 500))
    assert not page.is_visible("#restore-mode")  # the default method has one scale
    page.check("#restore-methods [value=zero_shot]")
    page.locator("#restore-more button").first.click()
    page.locator("#restore-seconds input[type=number]").fill("600")  # in a minute a slow machine would not even begin
    page.locator("#restore-seconds input[type=number]").blur()
    page.click("#restore-go")
    until(page, "training: ")
    late: list[Route] = []  # a question after the job whose answer comes when it is cancelled
    page.route(
        "**/api/jobs/*", lambda route: late.append(route) if route.request.method == "GET" else route.continue_()
    )

    def is_asked() -> bool:
        page.wait_for_timeout(50)  # requests are routed while the page is waited for
        return bool(late)

    assert wait_until(is_asked)
    page.click("#restore-stop")
    until(page, "cancelled")
    with page.expect_response("**/api/jobs/*"):
        late[0].fulfill(json={"state": "running", "phase": "training", "done": 1, "total": 2})
    page.unroute("**/api/jobs/*")
    page.wait_for_timeout(400)  # longer than the page waits before it asks again
    assert page.inner_text("#restore-status") == "cancelled"
    page.check("#restore-methods [value=bicubic]")
    assert page.is_visible("#restore-scale")
    page.locator("#restore-mode label").nth(1).click()
    page.locator("#restore-scale").wait_for(state="hidden")  # the part has a scale of its own
    page.click("#restore-go")
    said = until(page, "done: bicubic, 96x96 px")
    assert re.search(r"seed \d+; part at row \d+, column \d+", said)
    part = re.search(r"seed (\d+)", said)
    assert part is not None
    assert page.get_attribute("#restore-download", "download") == f"a_part{part[1]}_x8.png"


def test_numbers_that_the_visitor_leaves_empty_are_not_sent(page: "Page", tmp_path: Path) -> None:
    page.set_input_files("#restore-file", photo(tmp_path / "a.png", 40, 40))
    page.check("#restore-methods [value=zero_shot]")
    page.locator("#restore-more button").first.click()
    for name in ("steps", "noise", "seed"):
        assert page.locator(f"#restore-{name} input").input_value() == ""
    page.check("#restore-methods [value=bicubic]")
    page.locator("#restore-mode label").nth(1).click()
    page.locator("#restore-seed input").wait_for()
    seeds = set()
    for _ in range(2):  # a seed of the server's for each
        send(page)
        seeds.add(until(page, "done: bicubic").partition("seed ")[2].partition(";")[0])
    assert len(seeds) == 2
    page.locator("#restore-seed input").fill("7")
    page.locator("#restore-seed input").blur()
    send(page)
    assert "seed 7; part at row" in until(page, "done: bicubic")


def test_a_refusal_is_said_on_the_page(page: "Page", server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    page.set_input_files("#restore-file", tmp_path / "a.png")
    page.click("#restore-go")
    until(page, "not a PNG, JPEG")
    (tmp_path / "b.png").write_bytes(bytes(1_500_000))
    page.set_input_files("#restore-file", tmp_path / "b.png")
    page.click("#restore-go")
    until(page, "the file has 1.5 MB, expected at most 1")
    with Image.open(photo(tmp_path / "c.png")) as file:
        file.resize((2100, 10)).save(tmp_path / "c.png")
    sent = list[str]()
    page.on("request", lambda request: sent.append(request.method))
    page.set_input_files("#restore-file", tmp_path / "c.png")
    page.click("#restore-go")
    said = until(page, "2100x10 px, expected at most 2048")
    assert "POST" not in sent
    for path in ("b.png", "c.png"):  # the server has the same words
        answer = server.restore((tmp_path / path).read_bytes())
        assert answer.status == 413
        if path == "c.png":
            assert json.loads(answer.body)["detail"] == said
    with Image.open(tmp_path / "c.png") as file:
        file.save(tmp_path / "d.tif")  # which no browser measures
    page.set_input_files("#restore-file", tmp_path / "d.tif")
    send(page)
    assert until(page, "2100x10 px, expected at most 2048") == said  # by the job, which alone reads headers


def test_jobs_in_the_queue_are_counted(page: "Page", tmp_path: Path) -> None:
    asked: list[Route] = []
    page.route(re.compile(r"/api/jobs/[^/]+$"), lambda route: asked.append(route))

    def is_asked() -> bool:
        page.wait_for_timeout(50)  # requests are routed while the page is waited for
        return bool(asked)

    page.set_input_files("#restore-file", photo(tmp_path / "a.png", 20, 30))
    page.click("#restore-go")
    for ahead, words in ((1, "waiting: 1 job before this one"), (2, "waiting: 2 jobs before this one")):
        assert wait_until(is_asked)
        answer = asked[0].fetch()
        asked.pop().fulfill(response=answer, json=answer.json() | {"state": "waiting", "ahead": ahead})
        until(page, words)
    assert wait_until(is_asked)
    page.route(re.compile(r"/api/jobs/[^/]+$"), lambda route: route.continue_())  # comes before the first route
    asked.pop().continue_()
    until(page, "done: tiny")


def test_a_fallback_to_bicubic_is_no_success(page: "Page", tmp_path: Path) -> None:
    def fall_back(route: "Route") -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"outcome": "fallback"})

    page.route(re.compile(r"/api/jobs/[^/]+$"), fall_back)
    page.set_input_files("#restore-file", photo(tmp_path / "a.png", 20, 30))
    page.click("#restore-go")
    assert "bicubic" in until(page, "tiny, 60x40 px")
    assert page.get_attribute("#restore-status", "class") == "warning"


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "dark")])
def test_the_page_fits_a_phone_and_either_scheme(
    browser: "Browser", server: Server, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.set_default_timeout(PATIENCE)
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.wait_for_selector("#restore-go")
    assert "at most 1 MB and 2048 px on each side" in page.inner_text("#restore-drop")
    assert page.locator("#restore-methods label span").count() == 5  # each says what it is for
    for name in ("tiny", "zero_shot"):
        page.check(f"#restore-methods [value={name}]")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    lightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (lightness < 128) == (scheme == "dark")
    page.close()


def test_metadata_stays_behind_unless_the_visitor_keeps_it(
    page: "Page", server: Server, checkpoints: Path, cli: Cli, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    with Image.open(photo(tmp_path / "a.png", 20, 30)) as file:
        file.save(tmp_path / "a.jpg", exif=exif)
    page.set_input_files("#restore-file", tmp_path / "a.jpg")
    for choice in ("strip", "keep"):
        if choice == "keep":
            page.locator("#restore-metadata label").nth(1).click()
        send(page)
        until(page, "done: tiny, 60x40 px")
        with page.expect_download() as download:
            page.click("#restore-download")
        download.value.save_as(tmp_path / f"{choice}.png")
        settings = ("threads=1", f"metadata={choice}", f"ckpt_path={checkpoints}/tiny.safetensors")
        assert cli("predict", "input=a.jpg", "output=made.png", *settings).status == 0
        made = (tmp_path / "made.png").read_bytes()
        assert (tmp_path / f"{choice}.png").read_bytes() == made
        assert (b"a camera" in made) == (choice == "keep")
    page.check("#restore-methods [value=translation_emoji]")  # makes a new image, which has no metadata to keep
    page.locator(".form:has(#restore-metadata)").wait_for(state="hidden")  # no empty frame either
    send(page)
    until(page, "done: translation_emoji, 30x20 px")
