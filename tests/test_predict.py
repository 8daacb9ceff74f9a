import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage, to_float
from restore.image.transparency import carry_colours
from restore.inference.baselines import Bicubic
from restore.models.deblur import Deblur
from restore.ops import tiling
from restore.ops.resize import resize, resize_8bit
from tests.conftest import Cli, photo

BICUBIC = ("ckpt_path=bicubic", "scale=2")


def test_a_file_goes_next_to_itself(cli: Cli, tmp_path: Path) -> None:
    source = photo(tmp_path / "in" / "a.png", 9, 13)
    outcome = cli("predict", *BICUBIC, f"input={source}")
    assert outcome.status == 0, outcome.err
    restored = reading.read(tmp_path / "in" / "a_x2.png")
    assert torch.equal(restored.pixels, resize_8bit(reading.read(source).pixels, 2))
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
    assert "1 of 3 images could not be restored" in outcome.err
    assert "b.jpg: damaged or truncated" in outcome.err
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["a_x2.png", "c_x2.png"]


def test_kinds_of_pictures_are_kept(cli: Cli, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    levels = torch.from_numpy(random.integers(0, 65536, (3, 6, 5)).astype(np.uint16))
    alpha = torch.from_numpy(random.integers(0, 65536, (1, 6, 5)).astype(np.uint16))
    writing.write(tmp_path / "in" / "deep.png", DecodedImage(levels, alpha))
    Image.fromarray(random.integers(0, 255, (6, 5), np.uint8)).save(tmp_path / "in" / "grey.png")
    assert cli("predict", *BICUBIC, "input=in", "output=out").status == 0
    deep, grey = reading.read(tmp_path / "out" / "deep_x2.png"), reading.read(tmp_path / "out" / "grey_x2.png")
    assert deep.peak == 65535
    assert deep.alpha is not None
    assert deep.alpha.shape == (1, 12, 10)
    assert grey.is_grey
    assert grey.alpha is None


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["input=in/a.png", "output=in/a.png"], ["output is in/a.png", "overwritten"]),
        (["input=gone.png"], ["input is gone.png", "no such file"]),
        (["input=gone*.png"], ["input is gone*.png", "matches none"]),
        (["input=[in/a.png,in/b.png]"], ["input is a list", "a glob such as"]),
        (["input=in", "output=out.gif"], ["output is out.gif", "ends in .png, .jpg"]),
        (["input=in/a.png", "output=out.JXL"], ["output is out.JXL", "ends in .png, .jpg"]),
        (["input=in/*", "output=one.png"], ["one.png", "both"]),
        (["input=same"], ["both be written"]),
        (["input=in/a.png", "scale=null"], ["scale", "not given"]),
        (["input=in/a.png", "ckpt_path=in/a.png"], ["ckpt_path is in/a.png", "a valid checkpoint"]),
        (["input=in", "output=in/a.png/x"], ["output is in/a.png/x", "Not a directory"]),
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


# --- names, formats, qualities ---


def test_frames_go_in_the_order_of_their_numbers(cli: Cli, tmp_path: Path) -> None:
    for number in (1, 2, 10, 9, 100):
        photo(tmp_path / "in" / f"frame{number}.png", 4, 5)
    for given in ("in", "in/*.png"):
        outcome = cli("predict", *BICUBIC, f"input={given}", "output=out")
        assert outcome.status == 0, outcome.err
        rows = re.findall(r"frame\d+\.png", outcome.out)
        assert rows == ["frame1.png", "frame2.png", "frame9.png", "frame10.png", "frame100.png"]
        shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize(("format_", "kind"), [("jpg", "JPEG"), ("webp", "WEBP"), ("tiff", "TIFF"), ("png", "PNG")])
def test_a_folder_is_written_in_the_format_asked_for(format_: str, kind: str, cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    assert cli("predict", *BICUBIC, "input=in", f"format={format_}").status == 0
    with Image.open(tmp_path / "in_x2" / f"a_x2.{format_}") as file:
        assert file.format == kind


@pytest.mark.parametrize("format_", ["jpg", "webp"])
def test_a_lower_quality_makes_smaller_files_farther_from_the_picture(format_: str, cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    exact = resize_8bit(reading.read(tmp_path / "a.png").pixels, 2).double()
    lengths, errors = [], []
    for quality in (100, 60, 5):
        assert cli("predict", *BICUBIC, "input=a.png", f"output=b.{format_}", f"quality={quality}").status == 0
        lengths.append((tmp_path / f"b.{format_}").stat().st_size)
        errors.append(float((reading.read(tmp_path / f"b.{format_}").pixels.double() - exact).square().mean()))
    assert lengths == sorted(lengths, reverse=True)
    assert errors == sorted(errors)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["quality=0", "format=jpg"], ["quality is 0", "1 to 100"]),
        (["quality=101", "format=jpg"], ["quality is 101", "1 to 100"]),
        (["quality=90"], ["quality is 90", "a_x2.png has no quality"]),
        (["format=gif"], ["format is gif", "png, jpg, webp, tiff"]),
        (["format=jpg", "output=b.png"], ["format is jpg", "output=b.png"]),
        (["metadata=some"], ["metadata is some", "strip or keep"]),
    ],
)
def test_bad_ways_of_writing_are_named(cli: Cli, tmp_path: Path, overrides: list[str], parts: list[str]) -> None:
    photo(tmp_path / "a.png")
    outcome = cli("predict", *BICUBIC, "input=a.png", *overrides)
    assert outcome.status == 1
    assert all(part in " ".join(outcome.err.split()) for part in parts), outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_translation_is_an_opaque_image_without_metadata(cli: Cli, tmp_path: Path) -> None:
    Image.new("LA", (40, 40)).save(tmp_path / "drawing.png")
    words = ("ckpt_path=translation_emoji", "input=drawing.png", "output=a.jpg")
    outcome = cli("predict", *words)
    assert outcome.status == 0, outcome.err
    with Image.open(tmp_path / "a.jpg") as made:
        assert (made.mode, made.size) == ("RGB", (40, 40))
    refused = cli("predict", *words, "metadata=keep")
    assert refused.status == 1
    assert "metadata is keep, expected strip, because translation_emoji" in refused.err


def kinds(folder: Path) -> dict[str, Any]:
    """One file of each kind; its restored kind."""
    folder.mkdir()
    random = np.random.default_rng(0)
    deep = random.integers(0, 65536, (6, 5, 3)).astype(np.uint16)
    (folder / "rgb16.png").write_bytes(imagecodecs.png_encode(deep))
    tifffile.imwrite(folder / "grey16.tif", deep[..., 0])
    colours = random.integers(0, 256, (6, 5, 4)).astype(np.uint8)
    Image.fromarray(colours).save(folder / "rgba.png")
    Image.fromarray(colours[..., :2]).save(folder / "la.png")
    Image.fromarray(colours[..., :3]).quantize(8).save(folder / "palette.png", transparency=2)
    return {
        "rgb16.png": (3, 16, 0),
        "grey16.tif": (1, 16, 0),
        "rgba.png": (3, 8, 1),
        "la.png": (1, 8, 1),
        "palette.png": (3, 8, 1),
    }


@pytest.mark.parametrize("format_", ["png", "tiff"])
def test_depth_greyness_and_transparency_go_through(format_: str, cli: Cli, tmp_path: Path) -> None:
    expected = kinds(tmp_path / "in")
    outcome = cli("predict", *BICUBIC, "input=in", f"format={format_}")
    assert outcome.status == 0, outcome.err
    for name, (channels, bits, alpha) in expected.items():
        before = reading.read(tmp_path / "in" / name)
        after = reading.read(tmp_path / "in_x2" / f"{Path(name).stem}_x2.{format_}")
        assert (after.pixels.shape[0], after.peak, after.alpha is not None) == (channels, 2**bits - 1, bool(alpha))
        if bits == 8:
            assert torch.equal(after.pixels, resize_8bit(carry_colours(before.pixels, before.alpha), 2))
        else:
            want = resize(to_float(before.pixels), 2).clamp(0, 1) * before.peak
            assert float((to_float(after.pixels) * after.peak - want).abs().max()) < 0.51
        if before.alpha is not None and after.alpha is not None:
            want = (resize(to_float(before.alpha), 2).clamp(0, 1) * before.peak).round()
            assert float((after.alpha.float() - want).abs().max()) <= 1


# --- many and large pictures ---


def test_a_summary_shows_what_there_is_to_say(cli: Cli, tmp_path: Path) -> None:
    for number in range(24):
        photo(tmp_path / "in" / f"f{number}.png", 4, 5)
    (tmp_path / "in" / "f7.png").write_bytes(b"no picture")
    outcome = cli("predict", *BICUBIC, "input=in")
    assert outcome.status == 1
    table = outcome.out[outcome.out.index("┏") :]
    assert re.findall(r"f\d+\.png", table) == ["f7.png"]
    assert "failed" in table
    assert "all 24" in table
    few = cli("predict", *BICUBIC, "input=in/f1*.png", "output=few")
    assert "5x4" in few.out
    assert "10x8" in few.out


def test_one_process_opens_the_weights_once(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from restore.inference import load

    opened = []
    original = load.open_restorer

    def counted(*given: Any, **settings: Any) -> Any:
        opened.append(given)
        return original(*given, **settings)

    monkeypatch.setattr(load, "open_restorer", counted)
    for name in ("a", "b"):
        photo(tmp_path / "in" / f"{name}.png", 4, 5)
    assert cli("predict", *BICUBIC, "input=in").status == 0
    assert len(opened) == 1


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_frames(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "first.png", 200, 300)
    (tmp_path / "in").mkdir()
    for number in range(60):
        shutil.copy(tmp_path / "first.png", tmp_path / "in" / f"frame{number}.png")
    resident: list[int] = []

    class Looking(Bicubic):
        def bands(self, *given: Any, **settings: Any) -> Any:
            resident.append(resident_bytes())
            return super().bands(*given, **settings)

    from restore.inference import load

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(load._OPENERS, "bicubic", lambda scale, inference, training: Looking(2))
        assert cli("predict", *BICUBIC, "input=in").status == 0
    assert len(resident) == 60
    frame = 200 * 300 * 3 * 5  # a picture and its result, 8 bit
    assert max(resident[30:]) - max(resident[10:30]) < 10 * frame


def resident_bytes() -> int:
    """Resident bytes of this process (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


LARGE = """
import runpy, sys
sys.argv = ["predict", *sys.argv[1:]]
try:
    runpy.run_module("restore.predict", run_name="__main__")
finally:  # ru_maxrss would be the largest of this process and the one that started it
    line = next(each for each in open("/proc/self/status") if each.startswith("VmHWM"))
    sys.stderr.write(f"peak {line.split()[1]} KiB")
"""


@pytest.mark.slow
def test_a_12_megapixel_photo_stays_within_its_budget_and_is_the_whole_image_result(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Deblur(width=4, modules=1).eval()  # half as wide as model=deblur_tiny; whole it takes 2.2 GiB
    with torch.no_grad():
        for weight in model.network.parameters():  # so that the output is not the input
            weight.add_(torch.randn_like(weight), alpha=0.02)
    facts = {"format": 1, "method": "deblur", "arguments": dict(model.hparams), "best": 0.0}
    state = {f"network.{name}": value for name, value in model.network.state_dict().items()}
    torch.save({"restore": facts, "state_dict": state}, tmp_path / "tiny.ckpt")
    noise = np.random.default_rng(0).integers(0, 256, (350, 350, 3), np.uint8)
    Image.fromarray(noise).resize((3500, 3500)).save(tmp_path / "photo.jpg", quality=90)
    settings = ("ckpt_path=tiny.ckpt", "input=photo.jpg", "output=out.bmp", "memory_gb=1.5", "device=cpu", "threads=1")
    argv = [sys.executable, "-c", LARGE, *settings]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    peak = int(re.findall(r"peak (\d+) KiB", done.stderr)[0])
    assert peak < 1.5 * 2**20
    lq, out = reading.read(tmp_path / "photo.jpg").pixels, reading.read(tmp_path / "out.bmp").pixels
    assert model.halo is not None
    margin = tiling.round_up(model.halo, 4)
    for top, left in ((0, 0), (3436, 3436), (1500, 3100), (2488, 12), (2900, 2000)):
        above, before = max(0, top - margin), max(0, left - margin)
        crop = lq[:, above : top + 64 + margin, before : left + 64 + margin]
        with torch.inference_mode():
            pred = model.restore_whole(to_float(crop)[None])[0]
        want = pred[:, top - above :, left - before :][:, :64, :64].clamp(0, 1) * 255
        got = out[:, top : top + 64, left : left + 64].float()
        assert float((got - want).abs().max()) < 0.5 + 0.01  # rounding, and what another order of sums makes
        assert float((got - lq[:, top : top + 64, left : left + 64].float()).abs().max()) > 5


def test_a_second_run_does_not_restore_the_results_of_the_first(cli: Cli, tmp_path: Path) -> None:
    for k in range(2):
        photo(tmp_path / "set" / f"{k}.png", 12, 14, seed=k)
    photo(tmp_path / "set" / "map_x2.png", 12, 14)  # whose name only looks like a result's
    assert cli("predict", *BICUBIC, "input=set/0.png").status == 0
    assert (tmp_path / "set" / "0_x2.png").is_file()
    outcome = cli("predict", *BICUBIC, "input=set")
    assert outcome.status == 0, outcome.err
    assert "left out as results of predict: 1, such as" in " ".join(outcome.out.split())
    made = sorted(path.name for path in (tmp_path / "set_x2").glob("*.png"))
    assert made == ["0_x2.png", "1_x2.png", "map_x2_x2.png"]

    for again in (False, True):  # into the folder itself
        outcome = cli("predict", *BICUBIC, "input=set", "output=set", "format=webp")
        assert outcome.status == 0, outcome.err
        assert f"{0 if again else 3} restored, {3 if again else 0} were done before" in " ".join(outcome.out.split())
    names = sorted(path.name for path in (tmp_path / "set").iterdir())
    assert names == [
        *("0.png", "0_x2.png", "0_x2.webp", "1.png", "1_x2.webp", "map_x2.png", "map_x2_x2.webp", "predict.json")
    ]

    outcome = cli("predict", *BICUBIC, "input=set_x2", "output=twice")  # on with the results is another matter
    assert outcome.status == 0, outcome.err
    assert len(list((tmp_path / "twice").glob("*.png"))) == 3


@pytest.mark.parametrize(
    "content", ['{"a_x2.png": 1}', '{"a_x2.png": {}, "b": {"input": []}}', '{"a_x2.png": {"input": "a"}}']
)
def test_a_record_of_somebody_elses_is_no_record(content: str, cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "j" / "a.png", 8, 8)
    for folder in ("j", "j_x2"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "predict.json").write_text(content)
    outcome = cli("predict", "ckpt_path=bicubic", "scale=2", "input=j")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "j_x2" / "a_x2.png").is_file()
