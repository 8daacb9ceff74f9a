from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restore import image
from restore.resize import resize_8bit
from tests.conftest import Cli, photo

BICUBIC = ("ckpt_path=bicubic", "scale=2")


def test_a_file_goes_next_to_itself(cli: Cli, tmp_path: Path) -> None:
    source = photo(tmp_path / "in" / "a.png", 9, 13)
    outcome = cli("predict", *BICUBIC, f"input={source}")
    assert outcome.status == 0, outcome.err
    restored = image.read(tmp_path / "in" / "a_x2.png")
    assert torch.equal(restored.pixels, resize_8bit(image.read(source).pixels, 2))
    assert sorted(p.name for p in (tmp_path / "in").iterdir()) == ["a.png", "a_x2.png"]


def test_what_keeps_its_size_is_named_after_what_was_done(cli: Cli, tmp_path: Path) -> None:
    source = photo(tmp_path / "in" / "a.png")
    one = ("ckpt_path=identity",)
    for given in ("in", "in/*.png", str(source)):
        assert cli("predict", *one, f"input={given}").status == 0
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*_restored.png")}
    assert made == {"in_restored/a_restored.png", "restored/a_restored.png", "in/a_restored.png"}


def test_the_folder_one_stands_in_works(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "in" / "a.png")
    monkeypatch.chdir(tmp_path / "in")
    assert cli("predict", *BICUBIC, "input=.").status == 0
    assert (tmp_path / "in_x2" / "a_x2.png").exists()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2)])
def test_the_smallest_pictures_work(cli: Cli, tmp_path: Path, size: tuple[int, int]) -> None:
    photo(tmp_path / "a.png", *size)
    assert cli("predict", *BICUBIC, "input=a.png", "output=b.png").status == 0
    assert Image.open(tmp_path / "b.png").size == (2 * size[1], 2 * size[0])


def test_an_interrupted_folder_goes_on_and_other_settings_start_again(cli: Cli, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        photo(tmp_path / "in" / f"{name}.png", seed=ord(name))
    assert "3 restored, 0 were done before" in cli("predict", *BICUBIC, "input=in").out
    out = tmp_path / "in_x2"
    (out / "b_x2.png").unlink()
    before = (out / "a_x2.png").stat().st_mtime_ns
    assert "1 restored, 2 were done before" in cli("predict", *BICUBIC, "input=in").out
    assert (out / "a_x2.png").stat().st_mtime_ns == before
    assert "3 restored" in cli("predict", "ckpt_path=bicubic", "scale=3", "input=in", "output=in_x2").out
    photo(tmp_path / "in" / "a.png", seed=9)
    assert "1 restored, 2 were done before" in cli("predict", *BICUBIC, "input=in").out


def test_a_bad_file_is_reported_and_the_rest_go_on(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    cut = photo(tmp_path / "in" / "b.jpg")
    cut.write_bytes(cut.read_bytes()[:300])
    photo(tmp_path / "in" / "c.png")
    outcome = cli("predict", *BICUBIC, "input=in/*", "output=out")
    assert outcome.status == 1
    assert "1 of 3 pictures could not be restored" in outcome.err
    assert "b.jpg: damaged or truncated" in outcome.err
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["a_x2.png", "c_x2.png"]


def test_kinds_of_pictures_are_kept(cli: Cli, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    levels = torch.from_numpy(random.integers(0, 65536, (3, 6, 5)).astype(np.uint16))
    alpha = torch.from_numpy(random.integers(0, 65536, (1, 6, 5)).astype(np.uint16))
    image.write(tmp_path / "in" / "deep.png", image.Picture(levels, alpha))
    Image.fromarray(random.integers(0, 255, (6, 5), np.uint8)).save(tmp_path / "in" / "grey.png")
    assert cli("predict", *BICUBIC, "input=in", "output=out").status == 0
    deep, grey = image.read(tmp_path / "out" / "deep_x2.png"), image.read(tmp_path / "out" / "grey_x2.png")
    assert deep.peak == 65535
    assert deep.alpha is not None
    assert deep.alpha.shape == (1, 12, 10)
    assert grey.is_grey
    assert grey.alpha is None


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["input=in/a.png", "output=in/a.png"], ["in/a.png", "input", "overwritten"]),
        (["input=gone.png"], ["gone.png", "no picture"]),
        (["input=in/*", "output=one.png"], ["one.png", "both"]),
        (["input=same"], ["both become"]),
        (["input=in/a.png", "scale=null"], ["scale", "not given"]),
        (["input=in/a.png", "ckpt_path=in/a.png"], ["in/a.png", "damaged or not a checkpoint"]),
        (["input=in", "output=in/a.png/x"], ["output: in/a.png/x cannot be written (Not a directory); name another"]),
        (["input=in/a.png", "memory_gb=0"], ["memory_gb", "above 0"]),
        (["input=in/a.png", "scale=0"], ["scale", "0", "at least 1"]),
    ],
)
def test_bad_settings_are_named_and_nothing_is_lost(
    cli: Cli, tmp_path: Path, overrides: list[str], parts: list[str]
) -> None:
    for name in ("in/a.png", "in/b.png", "same/a.png", "same/a.jpg"):
        photo(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    outcome = cli("predict", *BICUBIC, *overrides)
    assert outcome.status == 1
    assert all(part in outcome.err for part in parts), outcome.err
    assert "Traceback" not in outcome.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
