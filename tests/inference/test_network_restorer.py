"""How a trained network is run: whole, in tiles, by the mean over views, in half precision."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from restore.config.inference import Inference
from restore.image.decoded_image import DecodedImage
from restore.inference.network import NetworkRestorer
from restore.inference.restorer import RestorationCancelled, restore_image
from restore.io.errors import SettingError
from restore.models.translation.network import TranslationNetwork
from tests.tiny_checkpoints import ckpt, content, network_of, open_on_cpu, save


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


@pytest.mark.parametrize("size", [(128, 96), (5, 16)])
def test_a_network_for_images_of_one_size_sees_all_at_that_size(size: tuple[int, int]) -> None:
    network = TranslationNetwork(levels=1, width=2, blocks=1, image_side=16)
    seen: list[tuple[int, ...]] = []
    network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    opened = NetworkRestorer("drawn", network, Inference(device="cpu"))
    plain = torch.full((3, *size), 0.5)
    assert opened.restore(plain).shape == (3, *size)
    assert [min(each) for each in seen] == [16]
    assert opened.restore(torch.rand(3, 16, 20)).shape == (3, 16, 20)
    with pytest.raises(SettingError) as error:
        TranslationNetwork(in_channels=2, input_kind="labels", image_side=16)
    assert error.value.key == "model.image_side"


@pytest.mark.parametrize(("size", "shown"), [((1, 17), "17x1 px"), ((500, 1), "1x500 px")])
def test_a_network_for_images_of_one_size_refuses_a_line(size: tuple[int, int], shown: str) -> None:
    network = TranslationNetwork(levels=1, width=2, blocks=1, image_side=16)
    opened = NetworkRestorer("drawn", network, Inference(device="cpu"))
    with pytest.raises(SettingError) as error:
        opened.restore(torch.rand(3, *size))
    assert (error.value.key, error.value.got) == ("image", shown)
    assert opened.restore(torch.rand(3, 1, 16)).shape == (3, 1, 16)


def test_a_drawing_without_paper_is_translated_as_one_on_white() -> None:
    opened = NetworkRestorer("drawn", TranslationNetwork(levels=1, width=2, blocks=1), Inference(device="cpu"))
    lines = torch.zeros(3, 16, 16, dtype=torch.uint8)
    ink = torch.zeros(1, 16, 16, dtype=torch.uint8)
    ink[:, 4:9, 5] = 255
    on_paper = DecodedImage(255 - ink.expand(3, -1, -1))
    made = restore_image(opened, DecodedImage(lines, ink))
    assert made.alpha is None
    assert torch.equal(made.pixels, restore_image(opened, on_paper).pixels)


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
    with pytest.raises(SettingError) as error:
        open_on_cpu(path, weights="best")
    assert error.value.key == "weights"


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
    with pytest.raises(ValueError, match="memory_gb"):
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
