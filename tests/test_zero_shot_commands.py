"""Zero-shot super-resolution through the commands, as people meet it."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from restore.checkpoints import reader
from restore.data.embedded_photos import embedded
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage
from restore.inference import baselines, zero_shot
from restore.ops.blur_kernels import gaussian_kernel
from restore.predict import FELL_BACK
from tests import fork_server
from tests.conftest import TINY_ZERO_SHOT, Cli, photo
from tests.test_fit import same_weights, survive

TINY = (
    "ckpt_path=zero_shot",
    "zero_shot.max_steps=20",
    "zero_shot.start=scratch",
    "zero_shot.model.width=4",
    "zero_shot.model.depth=1",
    "zero_shot.data.patch_size=16",
    "zero_shot.model.back_projection=2",
    "device=cpu",
)
INFORMATION_GAIN = "model.information_gain={groups: 1, blocks: 1, channels: 8, image_skip: bicubic}"
WRITTEN = (0, FELL_BACK)  # so few steps may or may not beat bicubic
FIT = (*TINY_ZERO_SHOT, "data.image=lq.png", "trainer.max_steps=24", "val_every_steps=5", "callbacks.panels=null")


def ramp(height: int, width: int, channels: int, peak: int = 255) -> np.ndarray[Any, Any]:
    rows, columns = np.mgrid[:height, :width]
    planes = [(rows + columns * (k + 1)) * peak // max(1, height + width * 4) for k in range(channels)]
    return np.stack(planes, 2).astype(np.uint8 if peak == 255 else np.uint16)


# --- predict ---


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (3, 3), (5, 12)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_any_size_and_kind_is_enlarged_and_keeps_its_kind(cli: Cli, size: tuple[int, int], mode: str) -> None:
    channels = {"RGB": 3, "L": 1, "RGBA": 4, "P": 3}[mode]
    pixels = ramp(*size, channels)
    made = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    (made.convert("P") if mode == "P" else made).save("in.png")
    outcome = cli("predict", *TINY, "input=in.png", "output=out.png", "scale=2")
    assert outcome.status in WRITTEN, outcome.err
    with Image.open("out.png") as out:
        assert (out.height, out.width) == (2 * size[0], 2 * size[1])
        assert out.mode == {"P": "RGB"}.get(mode, mode)
    said = f"an image of {size[1]}x{size[0]} px is too small to train on; bicubic is used"
    assert (said in " ".join(outcome.out.split())) == (min(size) < 3)


def test_16_bit_and_orientation_are_kept(cli: Cli) -> None:
    writing.write("deep.png", DecodedImage(torch.from_numpy(ramp(9, 6, 3, 65535).transpose(2, 0, 1).copy())))
    assert cli("predict", *TINY, "input=deep.png", "output=out.png", "scale=2").status in WRITTEN
    assert reading.read("out.png").peak == 65535
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(ramp(6, 9, 3)).save("turned.jpg", exif=exif)
    assert cli("predict", *TINY, "input=turned.jpg", "output=out2.png", "scale=2").status in WRITTEN
    assert reading.read("out2.png").pixels.shape == (3, 18, 12)


@pytest.mark.parametrize("scale", ["2.5", "3", "4", "8"])
def test_other_scales_whole_or_not(cli: Cli, tmp_path: Path, scale: str) -> None:
    photo(tmp_path / "in.png", 11, 9)
    assert cli("predict", *TINY, "input=in.png", f"scale={scale}").status in WRITTEN
    with Image.open(f"in_x{scale}.png") as out:
        assert (out.height, out.width) == (int(np.ceil(11 * float(scale))), int(np.ceil(9 * float(scale))))


@pytest.mark.usefixtures("whole_photos")
def test_one_seed_gives_the_same_bytes_and_another_not(cli: Cli, tmp_path: Path) -> None:
    cat = reading.read(embedded("photos_held_out")[0])
    writing.write("in.png", DecodedImage(cat.pixels[:, 100:132, 150:190]))
    easy = (*TINY, "zero_shot.max_steps=100", "zero_shot.model.width=16", "input=in.png", "scale=2")
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        assert cli("predict", *easy, f"output={name}.png", f"seed={seed}").status in WRITTEN
    a, b, c = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize("scale", ["2", "3"])
def test_tiles_are_the_whole(cli: Cli, tmp_path: Path, scale: str) -> None:
    photo(tmp_path / "in.png", 33, 26)
    wide = (*TINY, "zero_shot.max_steps=60", "zero_shot.model.width=16", "input=in.png", f"scale={scale}")
    assert cli("predict", *wide, "tile=none", "output=whole.png").status in WRITTEN
    assert cli("predict", *wide, "tile=9", "output=tiles.png").status in WRITTEN
    whole, tiles = (reading.read(name).rgb() for name in ("whole.png", "tiles.png"))
    assert (whole - tiles).abs().max() <= 1.01 / 255  # rounding may fall the other way
    assert (whole != tiles).float().mean() < 0.001


def test_no_structure_falls_back_to_bicubic_and_the_record_says_so(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "in" / "noise.png")
    photo(tmp_path / "in" / "photo.png", 24, 24)
    few = (*TINY, "zero_shot.max_steps=40", "zero_shot.model.back_projection=0")
    outcome = cli("predict", *few, "input=in", "scale=2")
    assert outcome.status == FELL_BACK, outcome.err
    assert "did not clearly beat bicubic" in " ".join(outcome.out.split())
    record = json.loads(Path("in_x2/predict.json").read_text())
    assert record["noise_x2.png"]["notes"] == {
        "bicubic used": "in scale step 1, where training did not clearly beat it"
    }
    assert cli("predict", "ckpt_path=bicubic", "scale=2", "input=in/noise.png", "output=b.png").status == 0
    assert Path("b.png").read_bytes() == Path("in_x2/noise_x2.png").read_bytes()
    again = cli("predict", *few, "input=in", "scale=2")
    assert "0 restored, 2 were done before" in again.out
    assert again.status == FELL_BACK


def test_a_time_limit_that_is_too_short_is_said_and_ends_with_a_status_of_its_own(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "in.png", 20, 20)
    outcome = cli("predict", *TINY, "zero_shot.max_steps=1000000", "input=in.png", "scale=4", "max_seconds=0.001")
    assert outcome.status == FELL_BACK, outcome.err
    said = " ".join(outcome.out.split())
    assert "max_seconds: 0.001 s allow about 0 training steps" in said
    assert "bicubic was written instead of the requested method: 1 of 1" in said
    assert cli("predict", "ckpt_path=bicubic", "scale=4", "input=in.png", "output=b.png").status == 0
    assert Path("b.png").read_bytes() == Path("in_x4.png").read_bytes()


# in every Python process that is started afresh: a file for each picture of in/ that one begins to read
NOTE_READING = """
import os, sys
def note(event, given):
    if event == "open" and str(given[0]).startswith("in/"):
        open("begun_" + os.path.basename(str(given[0])), "w").close()
sys.addaudithook(note)
"""


# the learning rate never comes down to its end: it would train for an hour
ENDLESS = (
    *("zero_shot.max_steps=1000000", "zero_shot.model.lr_stop=1e-300", "zero_shot.model.lr_decay=0.999"),
    *("input=in", "scale=2"),
)


def test_ctrl_c_leaves_the_best_so_far(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        photo(tmp_path / "in" / f"{name}.png", 40, 40)
    bands = zero_shot.ZeroShotRestorer.bands

    def interrupted(self: Any, lq: Any, **rest: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return bands(self, lq, **rest)

    monkeypatch.setattr(zero_shot.ZeroShotRestorer, "bands", interrupted)
    outcome = cli("predict", *TINY, *ENDLESS)
    assert outcome.status == 130, outcome.err
    assert [path.name for path in (tmp_path / "in_x2").iterdir()] == ["a_x2.png"]
    assert reading.read(tmp_path / "in_x2" / "a_x2.png").pixels.shape == (3, 80, 80)


@pytest.mark.slow
def test_a_signal_ends_several_processes_and_leaves_the_best_of_each(tmp_path: Path) -> None:
    """The signal reaches the first process alone."""
    for name in "abc":
        photo(tmp_path / "in" / f"{name}.png", 40, 40)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NOTE_READING)
    path = os.pathsep.join([str(tmp_path / "site"), str(Path(__file__).parent.parent)])
    argv, env = ["-m", "restore.predict", *TINY, *ENDLESS, "devices=2"], os.environ | {"PYTHONPATH": path}
    running = fork_server.start(*argv, cwd=tmp_path, env=env)
    try:
        deadline = time.monotonic() + 600
        while len(list(tmp_path.glob("begun_*"))) < 2:  # each process is at its image
            assert running.poll() is None, running.output()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        out = running.communicate(timeout=600)[0]
    finally:
        running.kill()  # else it would train for an hour
    assert running.returncode == 143, out
    assert sorted(path.name for path in (tmp_path / "in_x2").iterdir()) == ["a_x2.png", "b_x2.png"]
    assert reading.read(tmp_path / "in_x2" / "a_x2.png").pixels.shape == (3, 80, 80)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["scale=1"], "scale is 1, expected above 1"),
        ([], "scale is not given, expected a number, because ckpt_path=zero_shot has none of its own"),
        (["scale=2", "zero_shot.max_steps=0"], "zero_shot.max_steps is 0"),
        (["scale=2", "max_seconds=0"], "max_seconds is 0"),
        (["scale=2", "zero_shot.model.width=wide"], "zero_shot.model.width is 'wide'"),
        (["scale=2", "zero_shot.model.depht=3"], "did you mean zero_shot.model.depth"),
        (["scale=2", "zero_shot.data.patch_size=0"], "zero_shot.data.patch_size is 0"),
        (["scale=2", "zero_shot.model.lr=0.0"], "zero_shot.model.lr is 0"),
        (["scale=2", "zero_shot.data.image=in.png"], "zero_shot.data.image is in.png"),
        (["scale=2", "zero_shot.model.scale=3.0"], "zero_shot.model.scale is 3.0"),
        (["scale=2", "zero_shot.model.width=0"], "zero_shot.model.width is 0"),
        (["scale=nan"], "scale is nan"),
        (["scale=8", "zero_shot.model.kernel=estimate"], "scale is 8, expected 2, 3 or 4"),
        (["scale=2", "pool_window=48"], "pool_window is 48, expected null, because zero_shot takes no mean"),
        (["scale=2", "devices=0"], "devices is 0"),
        (["scale=2", "threads=0"], "threads is 0"),
    ],
)
def test_bad_settings_are_named(cli: Cli, tmp_path: Path, overrides: list[str], words: str) -> None:
    photo(tmp_path / "in.png")
    outcome = cli("predict", "ckpt_path=zero_shot", "input=in.png", *overrides)
    assert outcome.status == 1
    assert words in " ".join(outcome.err.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["output=out.jpg"], "output is out.jpg, expected a format that holds the image's transparency"),
        (["output=in.png/out.png"], "in.png"),
        (["memory_gb=0.0001"], "memory_gb=0.0001 holds no tile"),
        (["memory_gb=0.0004", "scale=8", "tile=16"], "because zero-shot keeps its whole result of 96x72 px in memory"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_training(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, overrides: list[str], words: str
) -> None:
    Image.fromarray(ramp(9, 12, 4)).save("in.png")
    trained = list[Any]()
    monkeypatch.setattr(
        "restore.inference.single_image_training.Trainer.fit", lambda *given, **named: trained.append(given)
    )
    outcome = cli("predict", *TINY, "input=in.png", "scale=2", *overrides)
    assert outcome.status == 1
    assert words in " ".join(outcome.err.split())
    assert trained == []


# --- several processes ---


def test_processes_share_the_pictures_and_change_no_byte(cli: Cli, tmp_path: Path) -> None:
    for name in "abcd":
        photo(tmp_path / "in" / f"{name}.png", 20, 24, seed=ord(name))
    for devices in (1, 2):
        outcome = cli("predict", *TINY, "input=in", "scale=2", f"output=o{devices}", f"devices={devices}", "threads=1")
        assert outcome.status in WRITTEN, outcome.err
        assert "4 restored, 0 were done before" in outcome.out
    for name in "abcd":
        assert (tmp_path / "o1" / f"{name}_x2.png").read_bytes() == (tmp_path / "o2" / f"{name}_x2.png").read_bytes()


# --- evaluate ---


def test_an_interrupted_evaluation_goes_on_from_its_last_picture(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        photo(tmp_path / "set" / "HR" / f"{name}.png", 34, 40, seed=ord(name))
    options = (*TINY, "ckpt_path=zero_shot", "scale=2", "benchmarks=[set]")
    assert cli("evaluate", *options, "output=whole").status == 0
    bands, seen = zero_shot.ZeroShotRestorer.bands, []

    def interrupted(self: Any, lq: Any, **rest: Any) -> Any:
        seen.append(lq)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGTERM)
        return bands(self, lq, **rest)

    monkeypatch.setattr(zero_shot.ZeroShotRestorer, "bands", interrupted)
    stopped = cli("evaluate", *options, "output=cut")
    assert stopped.status == 143
    assert "interrupted after 2 images; the same command continues from there" in " ".join(stopped.out.split())
    assert cli("evaluate", *options, "output=cut").status == 0
    assert len(seen) == 4  # two, the interrupted one, and that one again
    assert Path("cut/results.csv").read_bytes() == Path("whole/results.csv").read_bytes()
    assert not Path("cut/partial.json").exists()


def test_an_interrupted_evaluation_of_anything_else_ends_as_signalled(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "set" / "HR" / "a.png", 34, 40)
    bands = baselines.Bicubic.bands

    def interrupted(self: Any, lq: Any, **rest: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return bands(self, lq, **rest)

    monkeypatch.setattr(baselines.Bicubic, "bands", interrupted)
    stopped = cli("evaluate", "ckpt_path=bicubic", "scale=2", "benchmarks=[set]", "output=cut")
    assert stopped.status == 130
    assert "interrupted after 0 images" in " ".join(stopped.out.split())


@pytest.mark.parametrize("scale", ["inf", "nan", "1e9", "0"])
def test_scales_that_make_no_sense_are_named(cli: Cli, tmp_path: Path, scale: str) -> None:
    photo(tmp_path / "in.png")
    for name in ("zero_shot", "bicubic"):
        outcome = cli("predict", f"ckpt_path={name}", "input=in.png", f"scale={scale}")
        assert outcome.status == 1
        assert "scale is" in outcome.err


def test_a_fractional_scale_is_refused_by_the_protocols(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "set" / "a.png", 60, 60)
    outcome = cli("evaluate", "ckpt_path=zero_shot", "scale=2.5", "benchmarks=[set]")
    assert outcome.status == 1
    assert "scale is 2.5, expected a whole number" in outcome.err


# --- fit ---


@pytest.mark.parametrize(
    ("crashes", "changes", "begins"),
    [
        ([13, 2], [], [0, 12]),
        ([11, 3, 1], [], [0, 12]),
        ([29, 10], ["trainer.accumulate_grad_batches=2"], [0, 12]),
        ([7], ["model.scale=2.0", "model.kernel=kernel.npy"], [0]),
        ([9, 4], ["model.width=64", "model.depth=8", "model.scale=2", INFORMATION_GAIN], [0]),
    ],
)
def test_crashes_on_either_side_of_a_scale_step_change_nothing(
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    crashes: list[int],
    changes: list[str],
    begins: list[int],
) -> None:
    photo(tmp_path / "lq.png", 40, 44)
    np.save("kernel.npy", gaussian_kernel(1.5, 0.8, 0.3, 9).numpy())
    options = (*FIT, "checkpoint.every_steps=4", *changes)
    whole = cli("fit", *options, "run_id=whole")
    assert whole.status == 0, whole.err
    survive(cli, monkeypatch, (*options, "run_id=x"), crashes)
    runs = [tmp_path / "outputs" / "zero_shot" / run for run in ("whole", "x")]
    states = [reader.read(run / "checkpoints" / "last.ckpt") for run in runs]
    assert same_weights(*states)
    assert [record["begin"] for record in states[0]["scale_steps"]] == begins
    results = [json.loads((run / "result.json").read_text()) for run in runs]
    assert results[0]["metrics"] == results[1]["metrics"]


def test_a_training_that_ends_early_is_finished_and_its_checkpoint_enlarges(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "lq.png", 40, 44)
    flat = ("trainer.max_steps=2000", "model.scale=2", "model.lr_stop=1e-3", "model.lr_decay_ratio=1e-9")
    options = (*FIT, *flat, "val_every_steps=100", "checkpoint.every_steps=100", "run_id=a")
    outcome = cli("fit", *options)
    assert outcome.status == 0, outcome.err
    run = tmp_path / "outputs" / "zero_shot" / "a"
    steps = json.loads((run / "result.json").read_text())["steps"]
    assert 300 <= steps < 1000
    assert reader.read(run / "checkpoints" / "last.ckpt")["global_step"] == steps
    (run / "result.json").unlink()  # killed between its last step and its result
    assert cli("fit", *options).status == 0
    assert json.loads((run / "result.json").read_text())["steps"] == steps
    last = f"resume={run}/checkpoints/last.ckpt"
    longer = cli("fit", *options, "trainer.max_steps=3000", "run_id=b", last)
    assert longer.status == 1
    assert "trainer.max_steps is" in longer.err
    done = cli("predict", f"ckpt_path={run}/checkpoints/best.ckpt", "input=lq.png", "output=out.png")
    assert done.status == 0, done.err
    assert reading.read("out.png").pixels.shape == (3, 80, 88)
