"""Weights for distribution: a safetensors file with a JSON card of the same stem beside it.

The card holds what is needed to rebuild the model (method, arguments, format), the training data and commit, and the
scores. Weights with cards in ``restore/weights`` are shipped with the package and opened by name.
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

FORMAT = 1  # of checkpoints and cards; incremented when older ones can no longer be read directly


class NotOurs(SettingError):
    """An undamaged file of weights that this package did not write."""


def rebuilding(method: str, arguments: Mapping[str, Any], weights: str) -> dict[str, Any]:
    """The part of a card that is needed to rebuild the model."""
    return {"format": FORMAT, "method": method, "arguments": dict(arguments), "weights": weights}


def is_card(path: Path) -> bool:
    """Whether a JSON file is a card."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"format", "method", "arguments"} <= content.keys()


def tensors(path: Path, *, setting: str) -> dict[str, Tensor]:
    """The tensors in a safetensors file, by name.

    Raises:
        SettingError: the file is damaged.
    """
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        reason = f"a valid file, but it is damaged ({type(error).__name__})"
        raise SettingError(setting, path, reason, "use another") from error


def read(path: Path, *, setting: str) -> dict[str, Any]:
    """Read weights and card in the form of our checkpoints: ``restore`` (the card) and ``state_dict``.

    Args:
        path: of the safetensors file. setting: name of the setting, for errors.

    Raises:
        NotOurs: there is no card beside the weights.
        SettingError: one of the files is damaged.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise NotOurs(setting, path, f"weights with a card {beside.name} beside them, which describes their network")
    weights = tensors(path, setting=setting)
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        reason = f"weights with a valid card, but {beside.name} is damaged ({type(error).__name__})"
        raise SettingError(setting, path, reason, "use another") from error
    return {"restore": card, "state_dict": {f"network.{name}": value for name, value in weights.items()}}


def write(path: Path, facts: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write both files, each under a temporary name first, the card last.

    Args:
        path: of the safetensors file.
        facts: the card; :func:`read` needs ``format``, ``method`` and ``arguments``.
        weights: the network's, by name.
    """
    write_bytes(path, save({name: value.detach().contiguous() for name, value in weights.items()}))
    write_facts(path, facts)


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Write the card of the safetensors file ``path``, including the file's hash."""
    facts = {**facts, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    write_json(path.with_suffix(".json"), facts, indent=2)
