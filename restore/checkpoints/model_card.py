"""Weights to give away: a safetensors file with a JSON card of the same stem beside it.

The card holds what rebuilds the model (method, arguments, format), what the weights were trained on and by which
commit, and the scores they reach. Cards and weights under ``restore/weights`` come with the package and are opened by
name.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from restore.io.errors import SettingError
from restore.io.files import write_bytes, write_json

FORMAT = 1  # of checkpoints and cards; raised when an older one can no longer be read as it stands


class NotOurs(SettingError):
    """A sound file of weights that this package did not write."""


def rebuilding(method: str, arguments: Mapping[str, Any], weights: str) -> dict[str, Any]:
    """The part of a card that rebuilds the model."""
    return {"format": FORMAT, "method": method, "arguments": dict(arguments), "weights": weights}


def is_card(path: Path) -> bool:
    """Whether a JSON file is a card."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"format", "method", "arguments"} <= content.keys()


def tensors(path: Path, *, setting: str) -> dict[str, Tensor]:
    """What a safetensors file holds, by name.

    Raises:
        SettingError: it is damaged.
    """
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        reason = f"a sound file, but it is damaged ({type(error).__name__})"
        raise SettingError(setting, path, reason, "use another") from error


def read(path: Path, *, setting: str) -> dict[str, Any]:
    """Weights and card, in the form of a checkpoint of ours: ``restore`` (the card) and ``state_dict``.

    Args:
        path: of the safetensors file. setting: named in the errors.

    Raises:
        NotOurs: no card beside the weights.
        SettingError: either is damaged.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise NotOurs(setting, path, f"weights with a card {beside.name} beside them, which says what network they are")
    weights = tensors(path, setting=setting)
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        reason = f"weights with a sound card, but {beside.name} is damaged ({type(error).__name__})"
        raise SettingError(setting, path, reason, "use another") from error
    return {"restore": card, "state_dict": {f"network.{name}": value for name, value in weights.items()}}


def write(path: Path, facts: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write both files, each under a temporary name first; the card last.

    Args:
        path: of the safetensors file.
        facts: the card; ``format``, ``method`` and ``arguments`` are what :func:`read` needs.
        weights: of the network, by name.
    """
    write_bytes(path, save({name: value.detach().contiguous() for name, value in weights.items()}))
    write_facts(path, facts)


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Write the card of the safetensors file ``path``, with the hash of that file."""
    facts = {**facts, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    write_json(path.with_suffix(".json"), facts, indent=2)
