"""Builds objects from the configuration; no other module does.

Only targets under ``ALLOWED_TARGETS`` are built, and only with values that match the annotations of the constructor,
which is the schema.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from restore.checkpoints.renames import current_target
from restore.config.signatures import check_types
from restore.io.errors import SettingError

ALLOWED_TARGETS = ("restore.", "lightning.pytorch.")


def build(node: Any, path: str, **extra: Any) -> Any:
    """Instantiate a part of the configuration.

    Args:
        node: a config with ``_target_`` (or a dict or list of such).
        path: its dotted key, for errors.
        extra: further constructor arguments.

    Raises:
        SettingError: a target outside ``ALLOWED_TARGETS``. ValueError: a value of the wrong type; what the constructor
            raises.
    """
    node = _renamed(node, path)
    for key, target in _targets(node, path):
        name = str(target["_target_"])
        if not name.startswith(ALLOWED_TARGETS):
            raise SettingError(f"{key}._target_", name, f"a name under {' or '.join(ALLOWED_TARGETS)}")
        if name.startswith("restore."):
            _check_types(hydra.utils.get_object(name), target, key)
    try:
        return hydra.utils.instantiate(node, _convert_="all", **extra)
    except InstantiationException as error:
        cause = error.__cause__
        inner = _part_that_fails(node, path)
        # an inner part names its own argument, without the path to it
        if isinstance(cause, SettingError) and inner is not None:
            raise SettingError(f"{inner}.{cause.key}", cause.got, cause.expected, cause.remedy) from None
        if isinstance(cause, ValueError) and inner is not None:
            raise ValueError(f"{inner}.{cause}") from None
        if isinstance(cause, ValueError | OSError | ImportError):
            raise cause from None  # "from error" would make a circle of causes
        raise ValueError(f"{path}: {str(cause or error).splitlines()[0]}") from error


def arguments(
    node: DictConfig, path: str, *, of: Callable[..., Any] | None = None, without: Sequence[str] = ()
) -> dict[str, Any]:
    """Checked constructor arguments from a part of the configuration, for objects that are built later or often.

    Args:
        of: take the arguments of this class or function alone; None: of the target.
        without: names that are left out.

    Raises:
        ValueError: a value of the wrong type.
    """
    names = [str(key) for key in node] if of is None else list(inspect.signature(of).parameters)
    chosen = [name for name in names if name in node and name not in ("_target_", *without)]
    given = OmegaConf.masked_copy(node, chosen)
    _check_types(of or hydra.utils.get_object(node["_target_"]), given, path)
    plain: Any = OmegaConf.to_container(given, resolve=True)
    return dict(plain)


def _renamed(node: Any, path: str) -> Any:
    """The same configuration, with the present name of each target that has been renamed."""
    old = [
        each["_target_"]
        for _, each in _targets(node, path)
        if current_target(str(each["_target_"])) != each["_target_"]
    ]
    if not old:
        return node
    node = copy.deepcopy(node)
    for _, target in _targets(node, path):
        OmegaConf.update(target, "_target_", current_target(str(target["_target_"])))
    return node


def _part_that_fails(node: Any, path: str) -> str | None:
    """The dotted key of the inner part that cannot be built; the key in Hydra's message has no dots."""
    for key, target in reversed(list(_targets(node, path))):
        try:
            if key != path:
                hydra.utils.instantiate(target, _convert_="all")
        except InstantiationException:
            return key
    return None


def _targets(node: Any, path: str) -> Iterator[tuple[str, DictConfig]]:
    if OmegaConf.is_dict(node):
        if "_target_" in node:
            yield path, node
        for key in node:
            yield from _targets(node[key], f"{path}.{key}")
    elif OmegaConf.is_list(node):
        for k, item in enumerate(node):
            yield from _targets(item, f"{path}.{k}")


def _check_types(target: Any, node: DictConfig, path: str) -> None:
    """Compare plain values with the constructor's annotations."""
    values: Any = {key: node[key] for key in node if not _holds_targets(node[key])}
    plain = {k: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for k, v in values.items()}
    check_types(target, plain, path)


def _holds_targets(value: Any) -> bool:
    return any(True for _ in _targets(value, ""))
