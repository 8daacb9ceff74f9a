"""What ends ``restore serve`` before it serves."""

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import save_file

from restore.config import command  # noqa: F401 - registers the schemas
from restore.image import reading
from restore.inference.restorer import restore_image
from restore.io.errors import SettingError
from restore.web import isolated_process, request, worker
from restore.web.limits import Limits, Refused
from tests.conftest import Cli, photo
from tests.models.test_third_party import opened, save

CONF = Path(__file__).parents[2] / "conf"


class Payload:
    """Its pickle asks who opens it to make a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not_run(cli: Cli, tmp_path: Path) -> None:
    evil = tmp_path / "models" / "evil.ckpt"
    evil.parent.mkdir()
    evil.write_bytes(pickle.dumps(Payload(tmp_path / "it ran")))
    outcome = cli("serve", f"ckpt_path=[bicubic,{evil.parent}]", "port=0")
    assert outcome.status == 1
    assert "ckpt_path" in outcome.err
    assert "evil.ckpt, expected a valid checkpoint of this package" in " ".join(outcome.err.split())
    assert not (tmp_path / "it ran").exists()
    pickle.loads(evil.read_bytes())
    assert (tmp_path / "it ran").exists()  # so it would have


def serving(*ckpt_path: Path) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("serve", [f"ckpt_path=[{','.join(map(str, ckpt_path))}]", "device=cpu", "threads=1"])


def test_weights_of_other_projects_are_served_as_predict_takes_them(tmp_path: Path) -> None:
    theirs, folder = tmp_path / "theirs.pth", tmp_path / "models"
    save(theirs, "compact")
    folder.mkdir()
    weights = torch.load(theirs)["params_ema"]
    save_file(weights, folder / "other.safetensors")
    save_file({"some.weight": torch.zeros(3, 3)}, folder / "unknown.safetensors")
    cfg = serving(theirs, folder)
    told = worker.menu(print, cfg)
    facts = [(entry["name"], entry["scale"], entry["card"]) for entry in told["menu"]]
    assert facts == [("theirs", 2, {}), ("other", 2, {})]
    assert [("unknown.safetensors" in why, "spandrel knows" in why) for why in told["passed_over"]] == [(True, True)]
    job = request.resolve(request.RequestFields(), told["menu"], Limits.of(cfg), 0, compare=False)
    source = photo(tmp_path / "a.png", 20, 30)
    worker.restore(print, cfg, job, source, 0)
    expected = restore_image(opened(theirs), reading.read(source))
    assert torch.equal(reading.read(tmp_path / worker.RESULT).pixels, expected.pixels)


def test_metadata_of_a_new_image_is_refused_as_by_predict(cli: Cli, tmp_path: Path) -> None:
    cfg = serving(Path("translation_emoji"), Path("bicubic"))
    menu = worker.menu(print, cfg)["menu"]
    photo(tmp_path / "a.png")
    predicted = cli("predict", "ckpt_path=translation_emoji", "input=a.png", "metadata=keep", "device=cpu")
    assert predicted.status == 1
    fields = request.RequestFields(metadata="keep")
    with pytest.raises(Refused) as refused:
        request.resolve(fields, menu, Limits.of(cfg), 0, compare=False)
    assert refused.value.status == 422
    assert predicted.err.split() == ["predict:", *refused.value.sentence.split()]
    assert request.resolve(fields, menu[1:], Limits.of(cfg), 0, compare=False).metadata == "keep"


def test_a_file_of_nobody_is_refused_where_it_is_named(tmp_path: Path) -> None:
    unknown = tmp_path / "models" / "unknown.safetensors"
    unknown.parent.mkdir()
    save_file({"some.weight": torch.zeros(3, 3)}, unknown)
    for given in (unknown, unknown.parent):
        with pytest.raises(SettingError) as error:
            worker.menu(print, serving(given))
        assert error.value.key == "ckpt_path"
        assert "unknown.safetensors" in str(error.value)
        assert "spandrel" in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["max_mb=0"], "max_mb is 0.0, expected a number above 0"),
        (["max_seconds=4000"], "max_seconds is 4000, expected at most timeout=3600"),
        (["port=70000"], "port is 70000"),
        (["host=256.0.0.1"], "host is 256.0.0.1"),
        (["port=0", "ckpt_path=[]"], "ckpt_path is empty"),
        (["port=0", "ckpt_path=[bicubic,nothing]"], "ckpt_path: nothing is not a file"),
        (["port=0", "ckpt_path=folder"], "ckpt_path: folder holds no"),
    ],
)
def test_bad_settings_are_named_before_the_page_is_loaded(
    overrides: list[str], said: str, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr("restore.serve._menu", lambda *_: pytest.fail("too late"))
    outcome = cli("serve", *overrides)
    assert outcome.status == 1
    assert said in outcome.err
    assert "Traceback" not in outcome.err


def test_a_port_that_is_taken_is_named(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = cli("serve", f"port={port}")
    assert outcome.status == 1
    assert f"port is {port}, which cannot be used" in outcome.err


@pytest.mark.slow
def test_a_signal_while_checkpoints_are_opened_ends_it_as_signalled(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def told_to_stop(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)  # the main thread notes it
        raise isolated_process.TaskEnded("died")  # as one that the same signal has ended

    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"):  # which the command sets
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(isolated_process, "run", told_to_stop)
    outcome = cli("serve", "port=0")
    assert outcome.status == 128 + signal.SIGTERM
    assert "Traceback" not in outcome.err


def test_without_the_extra_one_sentence_names_it(tmp_path: Path) -> None:
    code = "import sys; sys.modules['gradio'] = None; sys.argv = ['serve']; from restore.serve import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "serve: gradio is missing, which the page needs; in a checkout: pip install -c constraints.txt '.[serve]'\n"
    )


def test_the_documented_defaults_are_the_real_ones() -> None:
    cfg = serving()
    own, public = Limits.of(cfg), Limits.of({**cfg, "host": "0.0.0.0"})
    assert cfg.patience > 60  # browsers let a hidden tab ask about once a minute
    rows = re.findall(r"^\| (`.+`) \| (.+?) \|", (CONF.parent / "docs" / "serve.md").read_text(), re.MULTILINE)
    told = {
        name.strip("` "): value.strip("` ")
        for names, values in rows
        for name, value in zip(names.split(","), values.split(","), strict=True)
    }
    assert told.keys() >= set(Limits.names())

    def shown(value: Any) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value).lower()

    assert told == {
        name: f"{getattr(own, name):g} / {getattr(public, name):g}" if cfg[name] is None else shown(cfg[name])
        for name in told
    }


def test_photos_of_phones_are_taken_where_this_machine_alone_is_served() -> None:
    cfg = serving()
    own = Limits.of(cfg)
    assert (own.max_mb, own.max_side) == (25, 8000)
    assert own.max_output_side >= 2 * own.max_side
    for change in ({"host": "0.0.0.0"}, {"behind_proxy": True}):  # a proxy lets others in
        others = Limits.of({**cfg, **change})
        assert (others.max_mb, others.max_side, others.timeout) == (1, 2048, 300)
    assert Limits.of({**cfg, "max_mb": 3.0}).max_mb == 3
