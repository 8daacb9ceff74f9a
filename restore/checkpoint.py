"""Opens a checkpoint: its method, its arguments and its weights, without any configuration file."""

import hashlib
import importlib
import pickle
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from restore.models.base import FORMAT, RestorationModel

Weights = Literal["ema", "raw"]

# what torch.load was seen to raise on files with flipped or missing bytes
_LOADING_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
)

# method -> its class; a fifth method adds its line here
METHODS = {
    "super_resolution": "restore.models.super_resolution.SuperResolution",
}


def read(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of ours, with ``weights_only=True``: a file cannot run code.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, written by something else, or by a later version of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"ckpt_path: {path} is not a file, expected a checkpoint, "
            "for example outputs/<name>/<run_id>/checkpoints/best.ckpt"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except _LOADING_ERRORS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"ckpt_path: {path} is damaged or not a checkpoint of this package ({reason})") from error
    facts = checkpoint.get("restore") if isinstance(checkpoint, dict) else None
    if not isinstance(facts, dict):
        raise ValueError(f"ckpt_path: {path} was not written by this package; train one with `restore fit`")
    kinds = {"format": int, "method": str, "arguments": dict}
    if "state_dict" not in checkpoint or not all(isinstance(facts.get(key), kind) for key, kind in kinds.items()):
        raise ValueError(f"ckpt_path: {path} is damaged: it lacks what rebuilds its model; use another checkpoint")
    if facts["format"] > FORMAT or facts["method"] not in METHODS:
        raise ValueError(
            f"ckpt_path: {path} holds method {facts['method']} in format {facts['format']}, "
            f"this version knows {', '.join(METHODS)} up to format {FORMAT}; update the package"
        )
    return dict(checkpoint)


def network_weights(checkpoint: dict[str, Any], weights: Weights) -> dict[str, Tensor]:
    """The network's state: the moving average where there is one, unless ``raw`` is asked for."""
    if weights not in ("ema", "raw"):
        raise ValueError(f"weights is {weights}, expected ema or raw")
    if weights == "ema" and "ema" in checkpoint:
        return dict(checkpoint["ema"])
    prefix = "network."
    state: dict[str, Tensor] = checkpoint["state_dict"]
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def load_model(path: str | Path, weights: Weights = "ema") -> RestorationModel:
    """Rebuild the model of a checkpoint, in evaluation mode, on the CPU."""
    checkpoint = read(path)
    state = network_weights(checkpoint, weights)
    module, _, name = METHODS[checkpoint["restore"]["method"]].rpartition(".")
    method: type[RestorationModel] = getattr(importlib.import_module(module), name)
    try:
        model = method(**checkpoint["restore"]["arguments"])
        model.network.load_state_dict(state)
    except _LOADING_ERRORS as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"ckpt_path: {path} does not fit its own model; use another checkpoint ({reason})") from error
    return model.eval()


def resumable_step(path: str | Path, model: RestorationModel, max_steps: int) -> int:
    """The step a training goes on from.

    Raises:
        ValueError: the checkpoint holds another network, or is already at the last step.
    """
    checkpoint = read(path)
    step = int(checkpoint["global_step"])
    stored = {name: value.shape for name, value in network_weights(checkpoint, "raw").items()}
    if stored != {name: value.shape for name, value in model.network.state_dict().items()}:
        raise ValueError(
            f"resume: {path} holds another network ({checkpoint['restore']['arguments']}); "
            "set model.* to the same, or use init_from to take over what fits"
        )
    if step >= max_steps:
        raise ValueError(f"resume: {path} is at step {step}, trainer.max_steps is {max_steps}; set it higher")
    return step


def sha256(path: str | Path) -> str:
    """Hash of a file's content, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
