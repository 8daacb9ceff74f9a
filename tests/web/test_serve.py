"""What is served is what ``predict`` makes; a real server, over HTTP."""

import base64
import functools
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from restore.predict import FELL_BACK
from tests.conftest import Cli, photo
from tests.web.conftest import Server, multipart, wait_until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "method", "fields", "settings"),
    [
        ("a.png", "tiny", {}, ["ckpt_path={folder}/tiny.safetensors"]),
        ("a.jpg", "super_resolution_x2", {}, ["ckpt_path=super_resolution_x2"]),
        ("a.jpg", "zero_shot", {"steps": 4, "scale": 1.5, "seed": 3}, ["scale=1.5", "zero_shot.max_steps=4", "seed=3"]),
        ("a.png", "bicubic", {"scale": 3}, ["ckpt_path=bicubic", "scale=3"]),
        ("a.jpg", "bicubic", {"scale": 3}, ["ckpt_path=bicubic", "scale=3"]),
    ],
)
def test_served_is_what_predict_makes_byte_for_byte(
    kind: str,
    method: str,
    fields: dict[str, Any],
    settings: list[str],
    server: Server,
    checkpoints: Path,
    cli: Cli,
    tmp_path: Path,
) -> None:
    source = photo(tmp_path / kind, 17, 21)
    settings = [setting.format(folder=checkpoints) for setting in settings]
    made = cli("predict", f"input={source}", "output=made.png", "threads=1", *settings)
    assert made.status in (0, FELL_BACK), made.err
    answer = server.restore(source.read_bytes(), method=method, **fields)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "image/png"
    assert answer.body == (tmp_path / "made.png").read_bytes()
    facts = json.loads(answer.headers["x-restore"])
    assert facts["method"] == method
    assert (facts["outcome"] == "fallback") == (made.status == FELL_BACK)


def test_what_is_served_is_told_with_cards_and_limits(server: Server) -> None:
    told = json.loads(server.ask("GET", "/api/methods").body)
    names = [entry["name"] for entry in told["methods"]]
    assert names == ["tiny", "super_resolution_x2", "zero_shot", "bicubic", "translation_emoji"]
    card = told["methods"][1]["card"]
    assert card["training"]["data"][0]["attribution"] == "Eastman Kodak Company"
    assert told["limits"]["max_mb"] == 1
    assert "ckpt_path" not in told["methods"][0]  # where files lie is nobody's business
    described = json.loads(server.ask("GET", "/openapi.json").body)
    body = described["paths"]["/api/restore"]["post"]["requestBody"]["content"]
    assert set(body["multipart/form-data"]["schema"]["properties"]) >= {"image", "method", "scale", "steps", "seed"}
    assert "application/json" in body


def test_a_random_part_is_repeatable_by_its_seed(server: Server, tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png", 40, 50).read_bytes()
    first = server.restore(picture, method="bicubic", mode="part")
    facts = json.loads(first.headers["x-restore"])
    assert facts["size"] == [96, 96]
    again = server.restore(picture, method="bicubic", mode="part", seed=facts["seed"])
    assert again.body == first.body
    other = server.restore(picture, method="bicubic", mode="part", seed=facts["seed"] + 1)
    assert other.body != first.body
    top, left, height, width = facts["part"]
    with Image.open(tmp_path / "a.png") as file:
        file.crop((left, top, left + width, top + height)).save(tmp_path / "part.png")
    whole = server.restore((tmp_path / "part.png").read_bytes(), method="bicubic", scale=8)
    assert whole.body == first.body
    refused = server.restore(picture, method="tiny", mode="part")
    assert (refused.status, b"enlarges 8 times" in refused.body) == (422, True)


def test_json_carries_pictures_in_base64(server: Server, tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png", 9, 8).read_bytes()
    sent = {"image": base64.b64encode(picture).decode(), "method": "bicubic", "scale": 2}
    answer = server.ask("POST", "/api/restore", json.dumps(sent).encode(), {"content-type": "application/json"})
    assert answer.status == 200, answer.body
    told = json.loads(answer.body)
    assert base64.b64decode(told["image"]) == server.restore(picture, method="bicubic", scale=2).body
    assert told["size"] == [18, 16]


def is_done(server: Server, job: str) -> bool:
    return bool(json.loads(server.ask("GET", f"/api/jobs/{job}").body)["state"] == "done")


def test_where_and_when_a_photo_was_taken_is_passed_on_only_when_asked(server: Server, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6  # maker; to be turned
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 0.0), 3: "E", 4: (11.0, 34.0, 0.0)})
    with Image.open(photo(tmp_path / "a.png", 20, 30)) as file:
        file.save(tmp_path / "a.jpg", exif=exif)
    assert b"a camera" in (tmp_path / "a.jpg").read_bytes()
    picture = (tmp_path / "a.jpg").read_bytes()
    for path in ("result.png", "before.png"):
        body, content_type = multipart(picture, method="bicubic")
        job = json.loads(server.ask("POST", "/api/jobs", body, {"content-type": content_type}).body)["id"]
        assert wait_until(functools.partial(is_done, server, job))
        (tmp_path / path).write_bytes(server.ask("GET", f"/api/jobs/{job}/{path}").body)
        with Image.open(tmp_path / path) as file:
            file.load()
            assert file.size == (40, 60)  # upright
            assert not file.getexif()
            assert not set(file.info) - {"dpi"}
    (tmp_path / "kept.png").write_bytes(server.restore(picture, method="bicubic", metadata="keep").body)
    with Image.open(tmp_path / "kept.png") as file:
        exif = file.getexif()
        assert (exif[0x010F], exif.get(0x0112, 1), exif.get_ifd(0x8825)[1], file.size) == ("a camera", 1, "N", (40, 60))
    assert server.restore(picture, metadata="some").status == 422


def test_a_photo_with_its_metadata_is_what_predict_makes_and_damage_is_said(
    server: Server, cli: Cli, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6
    with Image.open(photo(tmp_path / "a.png", 20, 30)) as file:
        file.save(tmp_path / "a.jpg", exif=exif)
    settings = ("ckpt_path=bicubic", "scale=2", "threads=1", "metadata=keep")
    assert cli("predict", *settings, "input=a.jpg", "output=made.png").status == 0
    answer = server.restore((tmp_path / "a.jpg").read_bytes(), method="bicubic", metadata="keep", scale=2)
    assert answer.body == (tmp_path / "made.png").read_bytes()
    assert b"a camera" in answer.body
    assert json.loads(answer.headers["x-restore"])["notes"] == {}

    content = (tmp_path / "a.jpg").read_bytes()
    damaged = content.replace(b"MM\0*\0\0\0\x08", b"MM\0*\xff\xff\xff\xff")
    assert damaged != content
    log = server.log.read_text()
    answer = server.restore(damaged, method="bicubic")
    assert answer.status == 200
    note = json.loads(answer.headers["x-restore"])["notes"]["image"]
    assert note.startswith("upload.jpg: partly damaged")
    assert server.log.read_text() == log


def test_a_background_job_is_followed_cancelled_and_dropped(server: Server, tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png", 150, 150).read_bytes()
    fields: dict[str, Any] = {"method": "zero_shot", "start": "scratch", "steps": 50, "scale": 4, "seconds": 600}
    jobs = [json.loads(server.restore(picture, "/api/jobs", **fields).body)["id"] for _ in range(2)]
    status = json.loads(server.ask("GET", f"/api/jobs/{jobs[1]}").body)
    assert status["state"] == "waiting"
    early = server.ask("GET", f"/api/jobs/{jobs[1]}/result.png")
    assert (early.status, b"the job is waiting" in early.body) == (409, True)
    status = {"done": 0}

    def has_begun() -> bool:
        status.update(json.loads(server.ask("GET", f"/api/jobs/{jobs[0]}").body))
        server.ask("GET", f"/api/jobs/{jobs[1]}")  # so that it is not dropped yet
        return bool(status["done"])

    assert wait_until(has_begun)
    assert (status["phase"], status["total"]) == ("training", 100)
    assert server.ask("DELETE", f"/api/jobs/{jobs[0]}").status == 200
    assert server.ask("GET", f"/api/jobs/{jobs[0]}").status == 404
    # nobody asks after the second one any more
    assert wait_until(lambda: not any("jobs/" in name for name in server.files()), 20)
    assert server.ask("GET", f"/api/jobs/{jobs[1]}").status == 404
