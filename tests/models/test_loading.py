"""The table of methods: a network alone, and in its LightningModule, from one file."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

from restore.models import loading
from restore.models.loading import METHODS
from restore.networks.contract import RestorationNetwork

TINY: dict[str, dict[str, Any]] = {
    "super_resolution": {"groups": 1, "blocks": 1, "channels": 8},
    "deblur": {"width": 4, "modules": 1},
    "zero_shot": {"scale": 2.5, "width": 4, "depth": 1, "back_projection": 1},
    "translation": {"levels": 2, "width": 4, "blocks": 1, "interpolation": "lanczos"},
}


def named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def checkpoint(folder: Path, method: str, **changes: Any) -> Path:
    """As a training writes it, with an average that is not the raw weights."""
    torch.manual_seed(0)
    model = named(METHODS[method].model)(**TINY[method])
    weights = model.network.state_dict()
    facts = {"format": 1, "method": method, "arguments": dict(model.hparams)} | changes
    average = {name: value + 0.01 if value.is_floating_point() else value for name, value in weights.items()}
    state = {f"network.{name}": value for name, value in weights.items()}
    torch.save({"restore": facts, "state_dict": state, "ema": average}, folder / "tiny.ckpt")
    return folder / "tiny.ckpt"


@pytest.mark.parametrize("method", METHODS)
def test_the_table_names_both_classes_and_the_network_takes_the_models_arguments(method: str) -> None:
    network, model = named(METHODS[method].network), named(METHODS[method].model)
    assert issubclass(network, RestorationNetwork)
    assert model.method == method
    known, given = (inspect.signature(each).parameters for each in (network, model))
    assert known.keys() <= given.keys()
    assert not known.keys() & set(model.training_settings) - {"back_projection", "kernel"}


@pytest.mark.parametrize("method", METHODS)
def test_the_table_holds_the_models_defaults_that_are_not_the_networks(method: str) -> None:
    network, model = (
        {name: each.default for name, each in inspect.signature(named(path)).parameters.items()}
        for path in METHODS[method][:2]
    )
    assert METHODS[method].defaults == {name: model[name] for name in network if model[name] != network[name]}


@pytest.mark.parametrize("weights", ["ema", "raw"])
@pytest.mark.parametrize("method", METHODS)
def test_the_network_alone_is_that_of_the_model(method: str, weights: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path, method, labels={"classes": 3})
    alone, inside = loading.load_network(path, weights), loading.load_model(path, weights).network
    facts = [name for name in inspect.get_annotations(RestorationNetwork) if name != "label_settings"]
    assert {name: getattr(alone, name) for name in facts} == {name: getattr(inside, name) for name in facts}
    assert alone.label_settings == {"classes": 3}
    assert not alone.training
    lq = torch.rand(1, 3, 21, 18)
    with torch.inference_mode():
        assert torch.equal(alone.restore_whole(lq), inside.restore_whole(lq))


def test_an_argument_that_an_older_file_lacks_has_the_models_default(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "super_resolution", arguments=TINY["super_resolution"])
    network = loading.load_network(path)
    assert network.scale == 2
    assert getattr(network, "image_skip", None) == "bicubic"  # the network's own default is the published none
