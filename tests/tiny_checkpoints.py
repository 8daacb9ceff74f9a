"""Checkpoints of a tiny super-resolution network, and how they are opened."""

from pathlib import Path
from typing import Any

import torch

from restore.config.inference import Inference
from restore.inference.load import open_restorer
from restore.inference.network import NetworkRestorer
from restore.models.super_resolution import SuperResolution

TINY = {"scale": 2, "groups": 1, "blocks": 1, "channels": 8}


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
