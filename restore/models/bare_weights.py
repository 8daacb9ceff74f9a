"""Bare weights, as other projects save them: tensors by name, perhaps nested, perhaps under a wrapper's prefix."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from restore.models import loading
from restore.models.base import RestorationModel

_NESTS = ("params_ema", "params", "state_dict", "model")  # in which they lie, the best first
_PREFIXES = ("module.", "_orig_mod.", "network.", "model.", "generator.")  # of parallel, compiling and other wrappers


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file, read so that no file can run code.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, more than weights, no weights, or a checkpoint of this package.
    """
    content = loading.content(Path(path), setting="ckpt_path")
    if isinstance(content, dict) and "restore" in content:
        raise ValueError(f"ckpt_path: {path} was written by this package and knows its own model; leave model out")
    found = _tensors(content)
    if not found:
        nests = ", ".join(_NESTS)
        raise ValueError(f"ckpt_path: {path} holds no tensors by name, expected a state dict, plain or under {nests}")
    return found


def _tensors(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    for nest in _NESTS:
        if isinstance(content.get(nest), Mapping):
            return _tensors(content[nest])
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def load_into(model: RestorationModel, weights: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Put weights into a model where names and shapes agree, whatever prefix all of them have.

    Returns:
        Names under ``missing`` (left at their initial values), ``unexpected`` and ``reshaped`` (both left out).

    Raises:
        ValueError: nothing fits.
    """
    own = model.network.state_dict()
    best = dict(weights)
    while not own.keys() & best.keys():
        prefix = next((each for each in _PREFIXES if all(name.startswith(each) for name in best)), None)
        if prefix is None:
            break
        best = {name.removeprefix(prefix): value for name, value in best.items()}
    if not any(name in own and own[name].shape == value.shape for name, value in best.items()):
        expected, found = next(iter(own)), next(iter(best))
        raise ValueError(
            f"ckpt_path: none of its weights fits model={model.method}, which has names like {expected}, the file has "
            f"{found}; choose another model or other settings of it"
        )
    return model.init_from(best)
