"""Zero-shot super-resolution that starts from weights of super_resolution."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import restore
from restore.config.inference import ZeroShotTraining
from restore.data.embedded_photos import embedded
from restore.image import reading
from restore.inference import zero_shot, zero_shot_start
from restore.inference.checkpoint_names import START, start_weights
from restore.inference.single_image_training import Watch, train, untrained
from restore.inference.zero_shot import ZeroShotRestorer
from restore.inference.zero_shot_start import Start, opened_start
from restore.io.errors import SettingError
from restore.models.loading import load_network
from restore.ops.resize import resize
from tests import tiny_checkpoints
from tests.conftest import Cli, photo

BICUBIC = {"image_skip": "bicubic"}
UNMOVED = {"model": {"lr": 1e-30, "lr_stop": 1e-31, "back_projection": 0}, "max_steps": 1}


def image(height: int = 24, width: int = 29) -> Tensor:
    torch.manual_seed(0)
    return resize(torch.rand(3, 9, 9), 4, size=(height, width)).clamp(0, 1)


def opened(scale: float, training: dict[str, Any], **settings: Any) -> ZeroShotRestorer:
    restorer = restore.load("zero_shot", scale=scale, zero_shot=training, device="cpu", **settings)
    assert isinstance(restorer, ZeroShotRestorer)
    return restorer


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_without_training_the_result_is_that_of_the_weights_themselves(scale: int) -> None:
    weights = restore.load(f"super_resolution_x{scale}", device="cpu", self_ensemble="true")
    lq = reading.read(embedded("photos_held_out")[0]).rgb()[:, 100:160, 150:210]
    assert torch.allclose(opened(scale, UNMOVED).restore(lq), weights.restore(lq).clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "model", "expected"),
    [
        (2, {}, "super_resolution_x2"),
        (4.0, {"kernel": "estimate", "lr": 1e-4}, "super_resolution_x4"),
        (2.5, {}, START),
        (8, {}, START),
        (2, {"scale_steps": [2**0.5, 2**0.5]}, START),
        (2, {"in_channels": 1}, START),
    ],
)
def test_photos_are_the_weights_of_the_scale_if_its_network_has_all_settings(
    scale: float, model: dict[str, Any], expected: str
) -> None:
    assert start_weights("photos", scale, model) == expected
    assert start_weights("scratch", scale, model) is None
    assert start_weights("own.ckpt", scale, model) == "own.ckpt"


def test_the_start_fills_in_what_is_null_and_nothing_else() -> None:
    start, nulls = Start(None, {"groups": 1}), dict.fromkeys(zero_shot_start.CROPS)
    plain = start.settings(ZeroShotTraining(model={"lr": None}, data=nulls))
    assert plain.model == {"lr": zero_shot_start.LR_BICUBIC, "information_gain": {"groups": 1}}
    assert plain.data == zero_shot_start.CROPS
    for model, data in (({"kernel": "estimate"}, {}), ({}, {"noise": 0.1})):
        assert start.settings(ZeroShotTraining(model=model, data=data)).model["lr"] == zero_shot_start.LR_OTHER
    own = ZeroShotTraining(model={"lr": 0.5}, data={"patch_size": 8, "batch_size": None})
    assert start.settings(own).model["lr"] == 0.5
    assert start.settings(own).data == zero_shot_start.CROPS | {"patch_size": 8}
    assert plain.start_share == zero_shot_start.SHARE_BICUBIC
    assert start.settings(ZeroShotTraining(start_share=0.25)).start_share == 0.25
    assert start.settings(ZeroShotTraining(data={"noise": 0.1})).start_share is None
    scratch = Start(None).settings(ZeroShotTraining(model={"lr": None, "kernel": None}, data=nulls))
    assert (scratch.model, scratch.data) == (zero_shot_start.SCRATCH_MODEL | {"kernel": None}, {"patch_size": 48})
    published = Start({}).settings(ZeroShotTraining(model={"lr": None, "kernel": None}, data=nulls))
    assert (published.model, published.data) == ({"kernel": None}, {})


@pytest.mark.parametrize(
    ("arguments", "training", "key"),
    [
        ({"scale": 4}, {}, "zero_shot.start"),
        ({}, {"model": {"width": 4}}, "zero_shot.start"),
        ({}, {"model": {"scale_steps": [2.0]}}, "zero_shot.start"),
        ({}, {"model": {"information_gain": {"groups": 9, **BICUBIC}}}, "zero_shot.model.information_gain"),
        ({"image_skip": "none"}, {}, "zero_shot.model.information_gain.image_skip"),
    ],
)
def test_weights_that_are_no_start_for_the_settings_are_refused(
    tmp_path: Path, arguments: dict[str, Any], training: dict[str, Any], key: str
) -> None:
    path = tiny_checkpoints.ckpt(tmp_path, **arguments)
    with pytest.raises(SettingError) as error:
        opened(2, {"start": path} | training)
    assert error.value.key == key


@pytest.mark.parametrize(
    ("scale", "model", "key"),
    [
        (2.5, {}, "scale"),
        (2, {"depth": 3}, "zero_shot.model.depth"),
        (2, {"in_channels": 1}, "zero_shot.model.in_channels"),
    ],
)
def test_settings_of_the_published_network_are_refused_for_the_other_one(
    scale: float, model: dict[str, Any], key: str
) -> None:
    network = {"groups": 1, "blocks": 1, "channels": 8, **BICUBIC}
    with pytest.raises(SettingError) as error:
        opened(scale, {"start": "scratch", "model": model | {"information_gain": network}})
    assert error.value.key == key


def test_own_weights_are_trained_further_and_give_the_same_result_each_time(tmp_path: Path) -> None:
    path = tiny_checkpoints.ckpt(tmp_path)
    training = {"start": path, "max_steps": 60, "data": {"patch_size": 16}}
    first, again = (opened(2, training).restore(image(48, 48)) for _ in range(2))
    assert torch.equal(first, again)
    start = opened_start(2, ZeroShotTraining(start=path))
    assert start.information_gain is not None
    assert start.information_gain["groups"] == 1
    untrained = opened(2, UNMOVED | {"start": path}).restore(image(48, 48))
    assert (first - untrained).abs().max() > 0.01


def test_large_images_are_enlarged_in_blended_tiles(tmp_path: Path) -> None:
    training = {**UNMOVED, "start": tiny_checkpoints.ckpt(tmp_path)}
    whole, tiled = (opened(2, training, tile=tile, tile_overlap=12).restore(image(60, 70)) for tile in ("none", "24"))
    assert tiled.shape == whole.shape == (3, 120, 140)
    assert (tiled - whole).abs().max() < 0.02  # the network averages over its input, so tiles are not exact
    steps = (tiled - whole).diff(dim=-1).abs().max()
    assert steps < 0.01  # no seam


def test_a_part_is_enlarged_by_a_network_trained_on_the_whole(tmp_path: Path) -> None:
    restorer = opened(2, {"start": tiny_checkpoints.ckpt(tmp_path), "max_steps": 1})
    restorer.source = image(48, 48)
    assert restorer.restore(image(48, 48)[:, 4:20, 6:19]).shape == (3, 32, 26)


@pytest.mark.parametrize(
    ("settings", "limit", "is_ensemble"),
    [
        ({}, None, False),
        ({"self_ensemble": "true"}, None, True),
        ({"self_ensemble": "false"}, None, False),
        ({}, 600, True),
    ],
)
def test_a_large_result_is_enlarged_once_unless_more_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], limit: float | None, is_ensemble: bool
) -> None:
    lq = reading.read(embedded("photos_held_out")[0]).rgb()[:, 100:160, 150:210]
    monkeypatch.setattr(zero_shot, "MOST_ENSEMBLED", 120 * 120 - 1)
    restorer = opened(2, UNMOVED | {"max_seconds": limit}, **settings)
    weights = restore.load("super_resolution_x2", device="cpu", self_ensemble=str(is_ensemble).lower())
    assert torch.allclose(restorer.restore(lq), weights.restore(lq).clamp(0, 1), atol=1e-6)
    assert ("views" in restorer.notes) == (not settings and limit is None)


def test_the_result_is_made_by_the_mean_of_the_trained_and_the_starting_weights() -> None:
    known = load_network("super_resolution_x2").state_dict()
    cat = reading.read(embedded("photos_held_out")[0]).rgb()[:, 100:148, 150:198]
    found = []
    for share in (0.0, 0.75):
        blurred = {"kernel": [[1 / 9] * 3] * 3}  # the start does not know it, so training gains at once
        training = ZeroShotTraining(max_steps=10, start_share=share, model=blurred)
        start = opened_start(2, training)
        training = start.settings(training)
        model = untrained(2, training, start.weights)
        train(model, cat, training, torch.device("cpu"), use_bf16=False, watch=Watch(None, None))
        found.append(model.network.networks[0].state_dict())
    assert any(not torch.equal(found[0][name], value) for name, value in known.items())
    for name, value in known.items():
        assert torch.allclose(found[1][name], 0.25 * found[0][name] + 0.75 * value, atol=1e-6)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_leaves_nothing_to_training_is_refused(share: float) -> None:
    with pytest.raises(SettingError) as error:
        ZeroShotTraining(start_share=share)
    assert error.value.key == "zero_shot.start_share"
    with pytest.raises(SettingError):
        ZeroShotTraining(start="scratch", start_share=0.5)


@pytest.mark.parametrize("size", [(1, 40), (5, 5), (11, 40), (12, 12)])
def test_images_too_small_for_their_sons_are_enlarged_bicubically(tmp_path: Path, size: tuple[int, int]) -> None:
    restorer = opened(4, {"start": tiny_checkpoints.ckpt(tmp_path, scale=4), "max_steps": 1})
    assert restorer.restore(image(*size)).shape == (3, 4 * size[0], 4 * size[1])
    assert any("too small" in note for note in restorer.notes.values()) == (min(size) < 12)


def test_a_network_that_does_not_beat_bicubic_on_the_image_is_replaced(tmp_path: Path) -> None:
    saved = tiny_checkpoints.content()
    saved["state_dict"]["network.tail.bias"] += 0.5
    path = tiny_checkpoints.save(tmp_path / "bad.ckpt", saved)
    restorer = opened(2, UNMOVED | {"start": path})
    pred = restorer.restore(image(40, 40))
    assert restorer.fell_back
    assert torch.equal(pred, restore.load("bicubic", scale=2).restore(image(40, 40)))


def test_fit_trains_the_other_network_resumes_it_and_its_checkpoint_enlarges(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "lq.png", 40, 44)
    path = tiny_checkpoints.ckpt(tmp_path)
    network = "model.information_gain={groups: 1, blocks: 1, channels: 8, image_skip: bicubic}"
    fit = (
        "fit",
        "experiment=zero_shot",
        "data.image=lq.png",
        "data.patch_size=16",
        "run_id=a",
        "callbacks.panels=null",
    )
    outcome = cli(*fit, network, f"init_from={path}", "trainer.max_steps=3", "val_every_steps=2")
    assert outcome.status == 0, outcome.err
    trained = "outputs/zero_shot/a/checkpoints/last.ckpt"
    outcome = cli("predict", f"ckpt_path={trained}", "input=lq.png", "output=out.png", "device=cpu")
    assert outcome.status == 0, outcome.err
    assert restore.load(trained, device="cpu").scale == 2
    started = opened(2, {"start": trained, "max_steps": 1})
    assert started.start.information_gain is not None
    assert started.restore(image()).shape == (3, 48, 58)
