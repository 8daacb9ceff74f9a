from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restore.data.deblur import DeblurData
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage
from tests.conftest import Cli, photo


def video(folder: Path, frames: int) -> Path:
    for k in range(frames):
        photo(folder / f"f{k:03d}.png", 16, 20, seed=k)
    return folder


def test_runs_of_frames_become_pairs_in_gopro_layout(cli: Cli, tmp_path: Path) -> None:
    source = video(tmp_path / "clip", 11)
    outcome = cli("average_frames", "input=clip", "output=set/train", "frames=5")
    assert outcome.status == 0, outcome.err
    assert "2 pairs, 1 frame left over" in " ".join(outcome.out.split())
    made = sorted(path.relative_to(tmp_path / "set").as_posix() for path in (tmp_path / "set").rglob("*.png"))
    assert made == [f"train/clip/{part}/f{k:03d}.png" for part in ("blur", "sharp") for k in (2, 7)]
    sharp = reading.read(tmp_path / "set" / "train" / "clip" / "sharp" / "f007.png").pixels
    assert torch.equal(sharp, reading.read(source / "f007.png").pixels)
    levels = np.stack([np.asarray(Image.open(source / f"f{k:03d}.png")) for k in range(5, 10)]) / 255
    expected = ((levels**2.2).mean(0) ** (1 / 2.2) * 255).round()
    blurred = np.asarray(Image.open(tmp_path / "set" / "train" / "clip" / "blur" / "f007.png")).astype(float)
    assert np.abs(blurred - expected).max() <= 1
    DeblurData(root=str(tmp_path / "set"), patch_size=16, validation="last_frames").prepare()


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["frames=4"], ["frames is 4", "odd"]),
        (["frames=1"], ["frames is 1", "at least 3"]),
        (["frames=9"], ["input is ", "frames=9", "holds 6"]),
        (["input=gone"], ["input is ", "gone", "a folder with the frames"]),
        (["input=clip/f000.png"], ["input is ", "f000.png"]),
        (["output=clip/pairs"], ["output is ", "outside the input"]),
        (["output=."], ["output is ", "outside the input"]),
        (["input=mixed", "frames=3"], ["input: 2 problems", "f004.png has 20x8 px, expected 20x16 px", "f005.png"]),
        (["output=plain/x", "frames=3"], ["output is ", "plain/x/clip", "Not a directory"]),
    ],
)
def test_bad_settings_are_named_and_nothing_is_written(
    cli: Cli, tmp_path: Path, overrides: list[str], parts: list[str]
) -> None:
    video(tmp_path / "clip", 6)
    photo(video(tmp_path / "mixed", 6) / "f004.png", 8, 20)
    (tmp_path / "mixed" / "f005.png").write_bytes(b"no picture")
    (tmp_path / "plain").write_text("")
    before = sorted(tmp_path.rglob("*"))
    outcome = cli("average_frames", "input=clip", "output=out", *overrides)
    assert outcome.status == 1
    assert all(part in outcome.err for part in parts), outcome.err
    assert "Traceback" not in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


def test_neighbours_are_those_of_the_numbers(cli: Cli, tmp_path: Path) -> None:
    for k in range(8, 14):
        photo(tmp_path / "clip" / f"f{k}.png", 16, 20, seed=k)
    outcome = cli("average_frames", "input=clip", "output=set", "frames=3")
    assert outcome.status == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "set" / "clip" / "sharp").iterdir()) == ["f12.png", "f9.png"]


def test_pairs_of_another_call_are_neither_mixed_with_nor_replaced(cli: Cli, tmp_path: Path) -> None:
    video(tmp_path / "clip", 6)
    video(tmp_path / "other" / "clip", 6)
    assert cli("average_frames", "input=clip", "output=set", "frames=5").status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*.png")}
    for settings in (["input=clip", "frames=3"], ["input=other/clip", "frames=5"]):
        outcome = cli("average_frames", *settings, "output=set")
        assert outcome.status == 1
        assert "output is " in outcome.err
        assert "set/clip/blur, expected a folder without files" in outcome.err
    assert {path: path.read_bytes() for path in (tmp_path / "set").rglob("*.png")} == before


def test_a_call_that_was_ended_leaves_nothing_to_remove(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video(tmp_path / "clip", 9)
    written: list[Path] = []
    write = writing.write

    def interrupted(path: Path, picture: DecodedImage) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        write(path, picture)
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "write", interrupted)
        assert cli("average_frames", "input=clip", "output=set", "frames=3").status == 130
    assert len(written) == 3
    assert not [path for path in (tmp_path / "set").rglob("*") if path.is_file()]
    photo(tmp_path / "set" / ".clip.unfinished" / "blur" / "f001.png")  # of one that was killed
    assert cli("average_frames", "input=clip", "output=set", "frames=3").status == 0
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["clip"]
    assert len(list((tmp_path / "set" / "clip").rglob("*.png"))) == 6
