import functools
import io
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ImageCms
from torch import Tensor

import restore
from restore.config.inference import Inference
from restore.image.decoded_image import DecodedImage
from restore.inference import restorer
from restore.inference.load import open_restorer
from restore.inference.names import restorer_name
from restore.inference.network import NetworkRestorer
from restore.inference.restorer import RestorationCancelled, Restorer, restore_image
from restore.inference.single_image_training import Watch
from restore.io.errors import SettingError
from restore.models import loading
from restore.models.super_resolution import SuperResolution
from restore.ops.resize import resize, resize_8bit

TINY = {"scale": 2, "groups": 1, "blocks": 1, "channels": 8}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def content(*, ema: bool = False, **arguments: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    model = SuperResolution(**TINY | arguments)
    facts = {"format": 1, "method": "super_resolution", "arguments": TINY | arguments, "best": 0.0}
    saved: dict[str, Any] = {
        "state_dict": {f"network.{name}": value for name, value in model.network.state_dict().items()},
        "restore": facts,
        "global_step": 7,
    }
    if ema:
        saved["ema"] = {name: value.clone() for name, value in model.network.state_dict().items()}
        saved["ema"]["tail.bias"] += 0.25
    return saved


def save(path: Path, saved: Any) -> str:
    torch.save(saved, path)
    return str(path)


def ckpt(folder: Path, *, ema: bool = False, **arguments: Any) -> str:
    return save(folder / "tiny.ckpt", content(ema=ema, **arguments))


def on_cpu(**settings: Any) -> Inference:
    return Inference(device="cpu", **settings)


def open_on_cpu(path: str, **settings: Any) -> NetworkRestorer:
    opened = open_restorer(path, inference=on_cpu(**settings))
    assert isinstance(opened, NetworkRestorer)
    return opened


def network_of(saved: dict[str, Any]) -> torch.nn.Module:
    model = SuperResolution(**saved["restore"]["arguments"])
    model.load_state_dict(saved["state_dict"])
    return model.network.eval()


def levels(channels: int, height: int = 9, width: int = 12, bits: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 2**bits, (channels, height, width), generator=generator, dtype=torch.int32)
    return values.to(torch.uint8 if bits == 8 else torch.uint16)


# --- baselines ---


@pytest.mark.parametrize("scale", [1, 2, 3, 8])
def test_bicubic_of_8_bit_levels_is_the_benchmarks(scale: int) -> None:
    pixels = levels(3)
    opened = open_restorer("bicubic", scale=scale)
    assert (opened.name, opened.scale, opened.protocol) == ("bicubic", scale, "sr_y")
    assert torch.equal(opened.restore(pixels / 255) * 255, resize_8bit(pixels, scale).float())


def test_bicubic_of_finer_levels_is_not_rounded() -> None:
    image = torch.rand(3, 9, 12)
    assert torch.equal(open_restorer("bicubic", scale=2).restore(image), resize(image, 2))
    step = torch.zeros(3, 8, 8) + 0.3001
    step[:, :, 4:] = 0.8002
    assert open_restorer("bicubic", scale=4).restore(step).max() > 0.81  # overshoot is kept


def test_identity_returns_its_input() -> None:
    image = torch.rand(3, 5, 7)
    opened = open_restorer("identity")
    assert opened.scale == 1
    assert torch.equal(opened.restore(image), image)
    assert open_restorer("identity", scale=1).name == "identity"


def test_baselines_refuse_scales_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"scale is not given.*scale=2"):
        open_restorer("bicubic")
    with pytest.raises(ValueError, match="scale is 0"):
        open_restorer("bicubic", scale=0)
    with pytest.raises(ValueError, match=r"scale is 2.*identity"):
        open_restorer("identity", scale=2)


# --- checkpoints ---


@pytest.mark.parametrize("attention", ["gain", "self", "second_order", "none"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_checkpoint_rebuilds_its_network(attention: str, scale: int, tmp_path: Path) -> None:
    saved = content(scale=scale, attention=attention)
    opened = open_on_cpu(save(tmp_path / "a.ckpt", saved))
    image = torch.rand(3, 9, 14)
    pred = opened.restore(image)
    assert pred.shape == (3, 9 * scale, 14 * scale)
    assert (opened.scale, opened.in_channels, opened.input_kind) == (scale, 3, "rgb")
    assert (opened.halo is None) == (attention != "none")
    assert not pred.requires_grad
    with torch.inference_mode():
        assert torch.allclose(pred, network_of(saved)(image[None])[0], atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (13, 8)])
def test_any_size_is_restored(size: tuple[int, int], tmp_path: Path) -> None:
    pred = open_on_cpu(ckpt(tmp_path)).restore(torch.rand(3, *size))
    assert pred.shape == (3, 2 * size[0], 2 * size[1])
    assert torch.isfinite(pred).all()


def test_the_average_is_used_unless_raw_weights_are_asked_for(tmp_path: Path) -> None:
    path = ckpt(tmp_path, ema=True)
    image = torch.rand(3, 6, 6)
    averaged, raw = (open_on_cpu(path, weights=weights).restore(image) for weights in ("ema", "raw"))
    assert torch.allclose(averaged - raw, torch.full_like(raw, 0.25), atol=1e-5)
    assert torch.equal(open_on_cpu(path).restore(image), averaged)


def test_without_an_average_both_are_the_raw_weights(tmp_path: Path) -> None:
    path = ckpt(tmp_path)
    image = torch.rand(3, 6, 6)
    averaged, raw = (open_on_cpu(path, weights=weights).restore(image) for weights in ("ema", "raw"))
    assert torch.equal(averaged, raw)
    with pytest.raises(ValueError, match="weights is best, expected ema"):
        open_on_cpu(path, weights="best")


def test_another_scale_than_the_trained_one_is_refused(tmp_path: Path) -> None:
    path = ckpt(tmp_path)
    assert open_restorer(path, scale=2, inference=on_cpu()).scale == 2
    with pytest.raises(SettingError, match=r"tiny\.ckpt was trained for") as error:
        open_restorer(path, scale=3, inference=on_cpu())
    assert (error.value.key, error.value.got) == ("scale", "3")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.ckpt is not a file"):
        open_restorer(str(tmp_path / "nowhere.ckpt"))
    with pytest.raises(FileNotFoundError):
        open_restorer(str(tmp_path))


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_checkpoint_is_named(kept: float, tmp_path: Path) -> None:
    path = Path(ckpt(tmp_path))
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match=r"tiny\.ckpt, expected a sound checkpoint"):
        open_restorer(str(path))


@pytest.mark.parametrize("data", [b"hello, I am a letter", b"\x89PNG\r\n\x1a\n", b"PK\3\4", b"\x80\2}q\0."])
def test_what_is_no_checkpoint_is_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.ckpt"):
        open_restorer(str(tmp_path / "a.ckpt"))


@pytest.mark.parametrize("saved", [{"state_dict": {}}, [1, 2], torch.zeros(3), {"restore": 5}])
def test_a_file_of_another_program_is_refused(saved: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.ckpt, expected a file that was written by this package"):
        open_restorer(save(tmp_path / "a.ckpt", saved))


@pytest.mark.parametrize("changed", [{"format": 99}, {"method": "deblur_by_magic"}])
def test_a_checkpoint_of_a_later_version_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    saved = content()
    saved["restore"] |= changed
    with pytest.raises(ValueError, match=r"a\.ckpt, expected .* update the package"):
        open_restorer(save(tmp_path / "a.ckpt", saved))


@pytest.mark.parametrize("missing", ["format", "method", "arguments"])
def test_a_checkpoint_without_a_fact_is_refused_by_name(missing: str, tmp_path: Path) -> None:
    saved = content()
    del saved["restore"][missing]
    with pytest.raises(ValueError, match=r"a\.ckpt"):
        open_restorer(save(tmp_path / "a.ckpt", saved))


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    saved = content()
    del saved["state_dict"]["network.head.bias"]
    with pytest.raises(ValueError, match=r"a\.ckpt"):
        open_restorer(save(tmp_path / "a.ckpt", saved))


@functools.cache
def sound_file(zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content(), buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("zipped", [True, False])
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_give_a_model_or_a_value_error(zipped: bool, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.ckpt"
    saved = bytearray(sound_file(zipped))
    place = st.one_of(st.integers(0, 2999), st.integers(len(saved) - 2000, len(saved) - 1))
    for where, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=5)):
        saved[where] = value
    path.write_bytes(saved)
    try:
        open_on_cpu(str(path))
    except ValueError as error:
        assert str(path) in str(error)


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.write_text, (self.marker, "the file ran code")


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = save(tmp_path / "a.ckpt", content() | {"bomb": Bomb(marker)})
    with pytest.raises(ValueError, match=r"a\.ckpt"):
        open_restorer(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # the bomb was real


def test_a_run_folder_gives_its_checkpoint_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "run7" / "checkpoints"
    folder.mkdir(parents=True)
    assert open_on_cpu(save(folder / "best.ckpt", content())).name == f"{tmp_path.name}_run7_best"
    assert open_on_cpu(ckpt(tmp_path)).name == "tiny"
    assert restorer_name("bicubic") == "bicubic"


def test_load_opens_from_python(tmp_path: Path) -> None:
    image = torch.rand(3, 6, 6)
    path = ckpt(tmp_path, ema=True)
    raw = restore.load(path, weights="raw", device="cpu")
    assert torch.equal(raw.restore(image), open_on_cpu(path, weights="raw").restore(image))
    assert restore.load("bicubic", scale=3).restore(image).shape == (3, 18, 18)
    with pytest.raises(TypeError, match="wieghts"):
        restore.load(path, wieghts="raw")


@pytest.mark.parametrize(
    ("training", "key"),
    [
        ({"model": {"widht": 3}}, "zero_shot.model.widht"),
        ({"model": {"width": "wide"}}, "zero_shot.model.width"),
        ({"data": {"patch_size": 2.5}}, "zero_shot.data.patch_size"),
        ({"max_steps": 0}, "zero_shot.max_steps"),
    ],
)
def test_settings_of_zero_shot_from_python_are_refused_by_name(training: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingError) as error:
        restore.load("zero_shot", scale=2, zero_shot=training)
    assert error.value.key == key


# --- how a network is run ---


@pytest.mark.parametrize("tile", [5, "16", 1000])
def test_tiled_equals_whole_without_attention(tile: int | str, tmp_path: Path) -> None:
    path = ckpt(tmp_path, attention="none")
    image = torch.rand(3, 15, 22)
    whole = open_on_cpu(path, tile="none").restore(image)
    assert (open_on_cpu(path, tile=tile).restore(image) - whole).abs().max() < 1e-5


def test_a_small_budget_tiles_by_itself_and_stays_exact(tmp_path: Path) -> None:
    path = ckpt(tmp_path, attention="none")
    image = torch.rand(3, 60, 70)
    whole = open_on_cpu(path)
    opened = open_on_cpu(path, memory_gb=3000 * whole.network.bytes_per_pixel / 2**30)
    tile = opened.tile_for((60, 70))
    assert whole.tile_for((60, 70)) is None
    assert tile is not None
    assert opened.halo is not None
    assert (tile + 2 * opened.halo) ** 2 <= 3000
    assert (opened.restore(image) - whole.restore(image)).abs().max() < 1e-5
    with pytest.raises(ValueError, match=r"memory_gb=1e-06 holds no tile"):
        open_on_cpu(path, memory_gb=1e-6).restore(image)


def test_tiles_of_a_network_with_attention_overlap_and_come_close(tmp_path: Path) -> None:
    path = ckpt(tmp_path, attention="gain")
    image = torch.rand(3, 1, 1) * torch.linspace(0.2, 1, 40).view(1, 1, 40) * torch.ones(1, 30, 1)
    whole = open_on_cpu(path, tile="none").restore(image)
    tiled = open_on_cpu(path, tile=12, tile_overlap=8).restore(image)
    assert tiled.shape == whole.shape
    assert (tiled - whole).abs().mean() < 0.02
    assert not torch.equal(tiled, whole)


def test_progress_counts_every_tile(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    opened = open_on_cpu(ckpt(tmp_path), tile=8)
    opened.restore(torch.rand(3, 20, 17), progress=lambda done, total: steps.append((done, total)))
    assert steps == [(k, 9) for k in range(1, 10)]


def test_progress_of_a_self_ensemble_only_grows_and_ends_at_its_total(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    opened = open_on_cpu(ckpt(tmp_path), self_ensemble=True, tile=8)
    opened.restore(torch.rand(3, 12, 7), progress=lambda done, total: steps.append((done, total)))
    assert len({total for _, total in steps}) == 1
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert steps[-1][0] == steps[-1][1]


@pytest.mark.parametrize("name", ["bicubic", "identity", "checkpoint"])
def test_every_restorer_reports_progress_and_can_be_stopped(name: str, tmp_path: Path) -> None:
    opened: Restorer
    if name == "checkpoint":
        opened = open_on_cpu(ckpt(tmp_path))
    else:
        opened = open_restorer(name, scale=2 if name == "bicubic" else None)
    image = torch.rand(3, 6, 7)
    steps: list[tuple[int, int]] = []
    opened.restore(
        image,
        progress=lambda done, total: steps.append((done, total)),
        deadline=time.monotonic() + 600,
        cancel=lambda: False,
    )
    assert steps == [(1, 1)]
    with pytest.raises(RestorationCancelled, match="cancelled"):
        opened.restore(image, cancel=lambda: True)
    with pytest.raises(RestorationCancelled, match="time"):
        opened.restore(image, deadline=time.monotonic() - 1)


def test_a_tiled_run_is_cancelled_between_its_tiles(tmp_path: Path) -> None:
    done: list[int] = []
    opened = open_on_cpu(ckpt(tmp_path), tile=8)
    with pytest.raises(RestorationCancelled, match="cancelled"):
        opened.restore(torch.rand(3, 24, 24), progress=lambda k, _: done.append(k), cancel=lambda: len(done) >= 2)
    assert done == [1, 2]


def test_a_tiled_run_stops_at_its_deadline_between_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    monkeypatch.setattr(time, "monotonic", lambda: float(len(done)))  # a second a tile
    opened = open_on_cpu(ckpt(tmp_path), tile=8)
    with pytest.raises(RestorationCancelled, match="time"):
        opened.restore(torch.rand(3, 24, 24), progress=lambda k, _: done.append(k), deadline=3.5)
    assert done == [1, 2, 3, 4]


@pytest.mark.parametrize("tile", ["none", 8])
@pytest.mark.parametrize("choice", [True, "true"])
def test_self_ensemble_is_the_mean_over_flips_and_turns(choice: Any, tile: Any, tmp_path: Path) -> None:
    path = ckpt(tmp_path, attention="none")
    image = torch.rand(3, 8, 11)
    plain = open_on_cpu(path)
    answers = []
    for swap in (False, True):
        for dims in ((), (1,), (2,), (1, 2)):
            view = (image.transpose(1, 2) if swap else image).flip(dims)
            answer = plain.restore(view).flip(dims)
            answers.append(answer.transpose(1, 2) if swap else answer)
    got = open_on_cpu(path, self_ensemble=choice, tile=tile).restore(image)
    assert (got - torch.stack(answers).mean(0)).abs().max() < 1e-5
    assert torch.equal(open_on_cpu(path, self_ensemble="auto").restore(image), plain.restore(image))
    assert torch.equal(open_on_cpu(path, self_ensemble=False).restore(image), plain.restore(image))


def test_bf16_comes_close_and_gives_float32_back(tmp_path: Path) -> None:
    path = ckpt(tmp_path)
    image = torch.rand(3, 12, 12)
    full, half = open_on_cpu(path).restore(image), open_on_cpu(path, precision="bf16").restore(image)
    assert half.dtype == torch.float32
    assert not torch.equal(full, half)
    assert (full - half).abs().max() < 0.05


def test_a_precision_that_is_accepted_is_used(tmp_path: Path) -> None:
    try:
        opened = open_on_cpu(ckpt(tmp_path), precision="BF16")
    except ValueError:
        return
    image = torch.rand(3, 12, 12)
    assert not torch.equal(opened.restore(image), open_on_cpu(ckpt(tmp_path)).restore(image))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("device", "gpu"),
        ("precision", "16"),
        ("tile", 0),
        ("tile", -4),
        ("tile", "big"),
        ("tile_overlap", -1),
        ("memory_gb", 0),
        ("memory_gb", float("nan")),
        ("self_ensemble", "maybe"),
    ],
)
def test_a_bad_setting_is_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{setting} is {value}.*expected"):
        Inference(**{setting: value})


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert restorer.pick_device("auto") == restorer.pick_device("cpu") == torch.device("cpu")
    with pytest.raises(SettingError, match="set device=cpu") as error:
        restorer.pick_device("cuda")
    assert (error.value.key, error.value.got) == ("device", "cuda")


# --- pictures ---


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
@pytest.mark.parametrize("bits", [8, 16])
def test_identity_gives_the_very_same_picture(bits: int, channels: int, alpha: bool) -> None:
    picture = DecodedImage(levels(channels, bits=bits), levels(1, bits=bits, seed=1) if alpha else None, SRGB)
    same = restore_image(open_restorer("identity"), picture)
    assert same.pixels.dtype == picture.pixels.dtype
    assert torch.equal(same.pixels, picture.pixels)
    assert same.icc == SRGB
    assert (same.alpha is None) == (picture.alpha is None)
    if same.alpha is not None and picture.alpha is not None:
        assert torch.equal(same.alpha, picture.alpha)


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_bicubic_of_an_8_bit_picture_is_the_benchmarks(channels: int) -> None:
    picture = DecodedImage(levels(channels))
    assert torch.equal(
        restore_image(open_restorer("bicubic", scale=3), picture).pixels, resize_8bit(levels(channels), 3)
    )


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_a_16_bit_picture_is_enlarged_in_16_bit(channels: int) -> None:
    picture = DecodedImage(levels(channels, bits=16))
    pixels = restore_image(open_restorer("bicubic", scale=2), picture).pixels
    expected = resize(picture.pixels.double(), 2).clamp(0, 65535)
    assert pixels.dtype == torch.uint16
    assert (pixels.double() - expected).abs().max() < 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_a_network_keeps_the_kind_of_a_picture(channels: int, bits: int, tmp_path: Path) -> None:
    opened = open_on_cpu(ckpt(tmp_path))
    alpha = levels(1, bits=bits, seed=1)
    picture = DecodedImage(levels(channels, bits=bits), alpha, SRGB)
    steps: list[tuple[int, int]] = []
    restored = restore_image(opened, picture, progress=lambda done, total: steps.append((done, total)))
    peak = 2**bits - 1
    rgb = picture.pixels.float().expand(3, -1, -1) / peak
    expected = opened.restore(rgb).double().clamp(0, 1)
    expected = expected.mean(0, keepdim=True) if channels == 1 else expected
    assert restored.pixels.dtype == picture.pixels.dtype
    assert restored.pixels.shape == (channels, 18, 24)
    if channels == 3:
        assert (restored.pixels.double() - peak * expected).abs().max() < 0.51 + peak * 1e-6
    assert restored.icc == SRGB
    assert restored.alpha is not None
    assert restored.alpha.dtype == alpha.dtype
    enlarged = resize(alpha.double(), 2).clamp(0, peak)
    assert (restored.alpha.double() - enlarged).abs().max() < 0.51 + peak * 1e-6
    assert steps == [(1, 1)]


def test_the_transparency_of_an_opaque_picture_stays_full(tmp_path: Path) -> None:
    opaque = torch.full((1, 9, 12), 255, dtype=torch.uint8)
    restored = restore_image(open_on_cpu(ckpt(tmp_path)), DecodedImage(levels(3), opaque))
    assert restored.alpha is not None
    assert (restored.alpha == 255).all()


def test_every_method_in_the_table_can_be_imported() -> None:
    assert loading.METHODS["super_resolution"].model == f"{SuperResolution.__module__}.{SuperResolution.__qualname__}"


@pytest.mark.parametrize(
    ("deadline", "expected"),
    # ten of 100 steps a second from second 5 on; the time until second 9 is used up sooner
    [(None, [10, 20, 30, 40, 50]), (9.0, [25, 50, 75, 100, 100]), (105.0, [10, 20, 30, 40, 50])],
)
def test_the_progress_of_a_zero_shot_training_knows_its_time_limit(
    monkeypatch: pytest.MonkeyPatch, deadline: float | None, expected: list[int]
) -> None:
    now, told = [5.0], list[tuple[int, int]]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watch = Watch(lambda done, total: told.append((done, total)), deadline)
    for second in range(1, 6):
        now[0] = 5.0 + second
        watch.on_train_batch_end(SimpleNamespace(global_step=10 * second, max_steps=100), None, None, None, 0)  # type: ignore[arg-type]
    assert told == [(each, 100) for each in expected]
