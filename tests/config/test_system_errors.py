import errno
import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from restore.config.errors import sentence
from restore.config.system_errors import no_run_folder
from tests.conftest import Cli, photo


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EIO])
def test_an_error_of_the_system_names_the_setting(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = OmegaConf.create({"data": {"root": ["a", str(tmp_path / "photos")]}, "name": "${oops:}", "output": "."})
    error = OSError(number, os.strerror(number), str(tmp_path / "photos" / "1.png"))
    said = sentence(error, settings)
    assert said.startswith(f"data.root is {tmp_path / 'photos'}, expected a path that can be used, but ")
    assert "1.png" in said
    assert "[Errno" not in said
    assert sentence(OSError(number, os.strerror(number), "b/c"), settings).startswith("output is ., ")
    assert sentence(OSError(number, "elsewhere", "/etc/passwd"), settings).endswith("'/etc/passwd'")
    assert no_run_folder(error) is error  # it was not Hydra's


@pytest.mark.parametrize("name", ["outputs", "outputs/super_resolution", "outputs/super_resolution/a"])
def test_a_file_in_place_of_a_run_folder_is_named(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    outcome = cli("fit", "run_id=a")
    assert outcome.status == 1
    assert outcome.err.startswith("fit: hydra.run.dir is outputs/")
    assert "Errno" not in outcome.err


@pytest.mark.parametrize("name", ["checkpoints", "ranks", "train.log", "lock", "panels"])
def test_a_file_or_folder_of_another_kind_in_a_run_folder_is_named(cli: Cli, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "outputs" / "super_resolution" / "a"
    folder.mkdir(parents=True)
    (folder / name).mkdir() if "." in name or name == "lock" else (folder / name).touch()
    outcome = cli("fit", "run_id=a", "data=sr_folder", "data.root=gone")
    assert outcome.status == 1
    assert "Traceback" not in outcome.err
    if name in ("train.log", "lock"):
        assert name in outcome.err


def test_links_in_a_circle_and_long_names_are_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    photo(tmp_path / "c.png", 8, 8)
    long = "n" * 300
    for words, key in (
        (("input=a", "output=out"), "input"),
        (("input=c.png", "output=a/out"), "output"),
        (("input=c.png", "output=c.png/out"), "output"),
        (("input=c.png", f"output={long}"), "output"),
        (("input=c.png", f"output={long}.png"), "output"),
        ((f"input={long}", "output=out"), "input"),
    ):
        outcome = cli("predict", "ckpt_path=bicubic", "scale=2", *words)
        assert outcome.status == 1
        assert outcome.err.startswith(f"predict: {key}"), outcome.err
        assert "Errno" not in outcome.err
    for word in (f"run_id={long}", f"name={long}"):
        outcome = cli("fit", word)
        assert outcome.status == 1
        assert outcome.err.startswith(f"fit: {word[:4]}")
        assert "255 bytes" in outcome.err
