"""Opens a checkpoint, or weights with a card: method, arguments and weights, without any configuration file."""

import hashlib
import importlib
import inspect
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from restore import card
from restore.card import FORMAT, NotOurs
from restore.loading import LOADING_ERRORS
from restore.models.base import RestorationModel
from restore.seal import is_sound

Weights = Literal["ema", "raw"]

# method -> its class; a fifth method adds its line here
METHODS = {
    "super_resolution": "restore.models.super_resolution.SuperResolution",
    "deblur": "restore.models.deblur.Deblur",
    "zero_shot": "restore.models.zero_shot.ZeroShotSuperResolution",
    "translation": "restore.models.translation.Translation",
}


def locate(path: str | Path) -> Path:
    """The file meant: one that comes with the package, by its name, or any by its path."""
    return card.shipped().get(str(path), Path(path))


def read(path: str | Path, *, setting: str = "ckpt_path") -> dict[str, Any]:
    """Read a checkpoint of ours, or weights with a card, in a way that no file can run code.

    Args:
        path: of a checkpoint or a safetensors file, or the name of weights that come with the package.
        setting: named in the errors.

    Raises:
        FileNotFoundError: no such file.
        NotOurs: written by something else.
        ValueError: damaged, or by a later version of this package.
    """
    path = locate(path)
    _refuse_missing(path, setting)
    checkpoint = card.read(path, setting=setting) if path.suffix == ".safetensors" else content(path, setting=setting)
    facts = checkpoint.get("restore") if isinstance(checkpoint, dict) else None
    if not isinstance(facts, dict):
        raise NotOurs(f"{setting}: {path} was not written by this package; train one with `restore fit`")
    kinds = {"format": int, "method": str, "arguments": dict}
    if "state_dict" not in checkpoint or not all(isinstance(facts.get(key), kind) for key, kind in kinds.items()):
        raise ValueError(f"{setting}: {path} is damaged: it lacks what rebuilds its model; use another checkpoint")
    if facts["format"] > FORMAT or facts["method"] not in METHODS:
        raise ValueError(
            f"{setting}: {path} holds method {facts['method']} in format {facts['format']}, "
            f"this version knows {', '.join(METHODS)} up to format {FORMAT}; update the package"
        )
    return dict(checkpoint)


def _refuse_missing(path: Path, setting: str) -> None:
    best = path / "checkpoints" / "best.ckpt"
    if best.is_file():
        raise FileNotFoundError(f"{setting}: {path} is a run's folder, expected a checkpoint; set {setting}={best}")
    if not path.is_file():
        names = "".join(f", or {name}" for name in card.shipped())
        raise FileNotFoundError(
            f"{setting}: {path} is not a file, expected a checkpoint, "
            f"for example outputs/<name>/<run_id>/checkpoints/best.ckpt{names}"
        )


def content(path: Path, *, setting: str) -> Any:
    """Whatever a file holds, read in a way that no file can run code.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, or it holds more than plain values and tensors.
    """
    _refuse_missing(path, setting)
    if path.suffix == ".safetensors":
        return card.tensors(path, setting=setting)
    with open(path, "rb") as file:
        is_archive = file.read(2) == b"PK"  # else of a torch before 1.6, which knew no checksums
    if is_archive and not is_sound(path):
        raise ValueError(f"{setting}: {path} is damaged or not a checkpoint of this package (checksum); use another")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except LOADING_ERRORS as error:
        # torch's own words end in the advice to load without weights_only, which would let the file run code
        reason = f"damaged or not a checkpoint of this package ({type(error).__name__})"
        raise ValueError(f"{setting}: {path} is {reason}; use another") from error


def network_weights(checkpoint: dict[str, Any], weights: Weights) -> dict[str, Tensor]:
    """The network's state: the moving average where there is one, unless ``raw`` is asked for.

    Raises:
        ValueError: another word than these, or weights that the file does not hold.
    """
    if weights not in ("ema", "raw"):
        raise ValueError(f"weights is {weights}, expected ema or raw")
    only = checkpoint["restore"].get("weights", weights)
    if weights != only:
        raise ValueError(f"weights is {weights}, but the file holds the {only} ones alone; set weights={only}")
    if weights == "ema" and "ema" in checkpoint:
        return dict(checkpoint["ema"])
    prefix = "network."
    state: dict[str, Tensor] = checkpoint["state_dict"]
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def load_model(path: str | Path, weights: Weights = "ema") -> RestorationModel:
    """Rebuild the model of a checkpoint, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError, ValueError: as :func:`read`; weights that do not fit the model that the file describes.
    """
    checkpoint = read(path)
    state = network_weights(checkpoint, weights)
    module, _, name = METHODS[checkpoint["restore"]["method"]].rpartition(".")
    method: type[RestorationModel] = getattr(importlib.import_module(module), name)
    try:
        model = method(**checkpoint["restore"]["arguments"])
        model.network.load_state_dict(state)
    except LOADING_ERRORS as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"ckpt_path: {path} does not fit its own model; use another checkpoint ({reason})") from error
    model.label_settings = checkpoint["restore"].get("labels")
    return model.eval()


def resumable(path: str | Path, model: RestorationModel, accumulate: int) -> dict[str, Any]:
    """Read a checkpoint that a training is to go on from.

    Args:
        accumulate: batches per step; a position in a run is counted in batches.

    Raises:
        ValueError: the checkpoint holds another network, or counts otherwise.
    """
    checkpoint = read(path, setting="resume")
    if "global_step" not in checkpoint:
        raise ValueError(f"resume: {path} holds weights and no position in a run; use init_from={path} instead")
    # a setting that came after the checkpoint was written had its default
    defaults = {name: each.default for name, each in inspect.signature(type(model)).parameters.items()}
    stored, given = {**defaults, **checkpoint["restore"]["arguments"]}, dict(model.hparams)
    other = [key for key in sorted(given) if key not in model.training_settings and stored.get(key) != given[key]]
    if other:
        changes = ", ".join(f"{key}: {stored.get(key)!r} -> {given[key]!r}" for key in other)
        raise ValueError(
            f"resume: {path} holds another network (model.{changes}); set the same, or use init_from to take what fits"
        )
    if checkpoint["restore"]["accumulate"] != accumulate:
        raise ValueError(
            f"resume: {path} accumulated {checkpoint['restore']['accumulate']} batches a step, "
            f"trainer.accumulate_grad_batches is {accumulate}; set the same, or use init_from"
        )
    return checkpoint


def sha256(path: str | Path) -> str | None:
    """Hash of the content of a checkpoint or of shipped weights, in hexadecimal; None for what is not a file."""
    file = locate(path)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
