"""Zero-shot super-resolution from weights that were trained on photos."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import restore
from restore.inference.single_image_training import untrained
from restore.inference.zero_shot import ZeroShotRestorer
from restore.io.errors import SettingError
from restore.models.loading import load_model, load_network
from restore.models.zero_shot.network import ZeroShotNetwork
from restore.models.zero_shot.start import ZeroShotStart
from tests import tiny_checkpoints
from tests.conftest import Cli, photo

NARROW: dict[str, Any] = {"width": 4, "depth": 1}
SMALL = ("data.root=photos", "data.validation=1", "data.patch_size=32", "callbacks.panels=null", "run_id=a")
FIT = ("fit", "experiment=zero_shot_start", *(f"model.{key}={value}" for key, value in NARROW.items()), *SMALL)


def start(path: str | Path, scale: float = 2.0, **training: Any) -> ZeroShotRestorer:
    model = training.pop("model", {}) | NARROW | {"back_projection": 0}
    settings = {"max_steps": 1, "start": str(path), "data": {"patch_size": 16}, **training, "model": model}
    opened = restore.load("zero_shot", scale=scale, zero_shot=settings, device="cpu", self_ensemble="false")
    assert isinstance(opened, ZeroShotRestorer)
    return opened


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_start_is_trained_on_photos_and_its_checkpoint_is_one_of_zero_shot(cli: Cli, tmp_path: Path) -> None:
    for k in range(2):
        photo(tmp_path / "photos" / f"{k}.png", 80, 90, seed=k)
    outcome = cli(*FIT, "trainer.max_steps=2")
    assert outcome.status == 0, outcome.err
    path = tmp_path / "outputs/zero_shot_start/a/checkpoints/last.ckpt"
    network = load_network(path)
    assert isinstance(network, ZeroShotNetwork)
    assert network.factors == [2.0]
    for kind in (None, ZeroShotStart):
        assert same(load_model(path, trained_by=kind).network.state_dict(), network.state_dict())
    of_photo = start(path, scale=4.0)
    begun = untrained(4.0, of_photo.training, of_photo.start.weights).network
    assert all(same(step.state_dict(), network.steps[0].state_dict()) for step in begun.steps)
    image = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0))
    assert start(path).restore(image).shape == (3, 48, 48)
    refused = cli(
        "fit", "experiment=zero_shot", "data.image=photos/0.png", "model.width=4", "model.depth=1", f"resume={path}"
    )
    assert refused.status == 1
    assert "init_from" in refused.err


def test_the_start_itself_remains_where_training_on_the_image_makes_it_worse() -> None:
    torch.manual_seed(0)
    weights = ZeroShotNetwork(**NARROW).state_dict()
    training = restore.load("zero_shot", scale=2, zero_shot={"start": "scratch", "model": NARROW}).training  # type: ignore[attr-defined]
    model = untrained(2.0, training, weights)
    assert model.steps.starts_trained
    assert not untrained(2.0, training).steps.starts_trained
    assert same(model.network.state_dict(), weights)


@pytest.mark.parametrize("kind", ["another method", "another width", "nothing"])
def test_weights_that_are_no_start_are_refused_before_the_first_image(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "start.ckpt"
    if kind == "another method":
        tiny_checkpoints.save(path, tiny_checkpoints.content())
    if kind == "another width":
        arguments: dict[str, Any] = {"width": 6, "depth": 1}
        state = {f"network.{name}": value for name, value in ZeroShotNetwork(**arguments).state_dict().items()}
        facts = {"format": 1, "method": "zero_shot", "arguments": arguments}
        tiny_checkpoints.save(path, {"state_dict": state, "restore": facts})
    with pytest.raises((SettingError, FileNotFoundError), match=r"zero_shot\.start"):
        start(path)


def test_a_start_reads_images_that_are_enlarged_already() -> None:
    with pytest.raises(SettingError) as error:
        ZeroShotStart(scale=2)
    assert error.value.key == "model.scale"
    model = ZeroShotStart(**NARROW)
    lq = torch.rand(1, 3, 9, 11)
    assert torch.equal(model.restore_whole(lq), model.network.steps[0](lq))
    assert (model.scale, model.halo) == (1, 2)
