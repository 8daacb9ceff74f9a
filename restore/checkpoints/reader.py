"""Reads checkpoints, weights with a card, and third-party weights, such that no file can run code."""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restore.checkpoints import model_card
from restore.checkpoints.checksum import is_packed, is_sound
from restore.checkpoints.locate import locate, refuse_missing, shipped
from restore.checkpoints.model_card import FORMAT, NotOurs
from restore.checkpoints.written_size import refuse_expanding
from restore.io.errors import SettingError

# raised by torch.load, or on access to its result, in tests on other files and on flipped or missing bytes
LOADING_ERRORS = (
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

_NESTS = ("params_ema", "params", "state_dict", "model")  # keys of other projects for their tensors, the best first


def read(path: str | Path, *, setting: str = "ckpt_path") -> dict[str, Any]:
    """Read one of our checkpoints, or weights with a card.

    Args:
        path: of a checkpoint or safetensors file, or the name of shipped weights.
        setting: name of the setting, for errors.

    Returns:
        Under ``restore`` the facts, including ``format``, ``method`` and ``arguments``; under ``state_dict`` the
        tensors.

    Raises:
        FileNotFoundError: no such file.
        NotOurs: the file was written by another program.
        SettingError: the file is damaged, or its format is newer than this version.
    """
    path = locate(path)
    refuse_missing(path, setting)
    is_card = path.suffix == ".safetensors"
    checkpoint = model_card.read(path, setting=setting) if is_card else content(path, setting=setting)
    facts = checkpoint.get("restore") if isinstance(checkpoint, dict) else None
    if not isinstance(facts, dict):
        raise NotOurs(setting, path, "a file that was written by this package", "train one with `restore fit`")
    kinds = {"format": int, "method": str, "arguments": dict}
    if "state_dict" not in checkpoint or not all(isinstance(facts.get(key), kind) for key, kind in kinds.items()):
        raise SettingError(
            setting, path, "a complete file, but it lacks the description of its model", "use another checkpoint"
        )
    if facts["format"] > FORMAT:
        raise SettingError(
            setting, path, f"format {FORMAT} or lower, but it has {facts['format']}", "update the package"
        )
    return dict(checkpoint)


def content(path: Path, *, setting: str) -> Any:
    """The content of any file of weights.

    Raises:
        FileNotFoundError: no such file.
        SettingError: the file is damaged, or contains more than plain values and tensors.
    """
    refuse_missing(path, setting)
    if path.suffix == ".safetensors":
        return model_card.tensors(path, setting=setting)
    with open(path, "rb") as file:
        is_archive = file.read(2) == b"PK"  # otherwise written by a torch before 1.6, without checksums
    expected = "a valid checkpoint of this package"
    if is_archive and is_packed(path):
        raise SettingError(
            setting, path, f"{expected}, but it is compressed, and torch writes no compressed files", "use another"
        )
    if is_archive and not is_sound(path):
        raise SettingError(setting, path, f"{expected}, but it is damaged (checksum)", "use another")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        refuse_expanding(loaded, path)
        return loaded
    except LOADING_ERRORS as error:
        # torch's own message advises loading without weights_only, which would let the file run code
        why = str(error) if type(error) is ValueError else type(error).__name__
        reason = f"but it is damaged or another kind of file ({why})"
        raise SettingError(setting, path, f"{expected}, {reason}", "use another") from error


def network_weights(checkpoint: Mapping[str, Any], weights: str) -> dict[str, Tensor]:
    """The network's weights: the moving average if there is one, unless ``raw`` is requested.

    Args:
        checkpoint: from :func:`read`. weights: ``ema`` or ``raw``.

    Returns:
        Parameters and buffers by their names in the network, shapes and types as stored, on the CPU.

    Raises:
        SettingError: another value of ``weights``, or the file does not contain these weights.
    """
    if weights not in ("ema", "raw"):
        raise SettingError("weights", weights, "ema or raw")
    only = checkpoint["restore"].get("weights", weights)
    if weights != only:
        raise SettingError("weights", weights, f"{only}, the only weights in the file", f"set weights={only}")
    if weights == "ema" and "ema" in checkpoint:
        return dict(checkpoint["ema"])
    prefix = "network."
    state: dict[str, Tensor] = checkpoint["state_dict"]
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def bare_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors in a file of another project, by name; nested ones are found in the usual places.

    Args:
        path: of a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file. The names of shipped weights are refused.

    Returns:
        Tensors by name, shapes and types as stored, on the CPU.

    Raises:
        FileNotFoundError: no such file.
        SettingError: the file is damaged, contains more than weights or none, or is a checkpoint of this package.
    """
    loaded = content(locate(path), setting="ckpt_path")
    if str(path) in shipped() or (isinstance(loaded, dict) and "restore" in loaded):
        raise SettingError(
            "ckpt_path", path, "weights of another project, but it was written by this package", "leave model out"
        )
    found = _tensors(loaded)
    if not found:
        raise SettingError(
            "ckpt_path", path, f"tensors by name, plain or under {', '.join(_NESTS)}", "use another file"
        )
    return found


def _tensors(loaded: Any) -> dict[str, Tensor]:
    if not isinstance(loaded, Mapping):
        return {}
    for nest in _NESTS:
        if isinstance(loaded.get(nest), Mapping):
            return _tensors(loaded[nest])
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}


def sha256(path: str | Path) -> str | None:
    """SHA-256 of a checkpoint or of shipped weights, in hexadecimal; None if there is no such file."""
    file = locate(path)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
