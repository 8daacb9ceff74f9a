"""Builds objects from the configuration; no other module does.

Only our classes that are parts of a training, and the Lightning classes listed here, are built, and only with values
that match the annotations of the constructor, which serve as the schema. An allow-list of prefixes would not be enough:
functions and other modules can be reached through our modules, and an experiment's file may come from anywhere.
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

OURS = "restore."
PARTS = frozenset(  # base classes, by name because Lightning is not imported here
    (
        "lightning.pytorch.callbacks.callback.Callback",
        "lightning.pytorch.loggers.logger.Logger",
        "lightning.pytorch.core.datamodule.LightningDataModule",
        "lightning.pytorch.strategies.strategy.Strategy",
        "torch.nn.modules.module.Module",
    )
)
DEGRADATIONS = "restore.degradations."  # callables without a base class
LIGHTNING = frozenset(
    f"lightning.pytorch.{name}"
    for name in (
        "Trainer",
        *(f"loggers.{each}" for each in ("CSVLogger", "MLFlowLogger", "TensorBoardLogger", "WandbLogger")),
        *(
            f"callbacks.{each}"
            for each in (
                "DeviceStatsMonitor",
                "EarlyStopping",
                "LearningRateMonitor",
                "ModelSummary",
                "RichModelSummary",
                "RichProgressBar",
                "TQDMProgressBar",
                "Timer",
            )
        ),
        *(f"strategies.{each}" for each in ("DDPStrategy", "FSDPStrategy", "SingleDeviceStrategy")),
    )
)
_SPECIAL = ("_args_", "_partial_", "_recursive_", "_convert_")  # keys that change how Hydra instantiates a target


def build(node: Any, path: str, **extra: Any) -> Any:
    """Instantiate a part of the configuration.

    Args:
        node: a config with ``_target_``, or a dict or list of such configs.
        path: dotted key of the node, for errors.
        extra: further constructor arguments.

    Raises:
        SettingError: a target is not allowed. ValueError: a value has the wrong type, or the constructor raised it.
    """
    node = _renamed(node, path)
    for key, target in _targets(node, path):
        found = _allowed(target, key)
        if str(target["_target_"]).startswith(OURS):
            _check_types(found, target, key)
        else:
            _refuse_unknown(found, target, key)
    try:
        return hydra.utils.instantiate(node, _convert_="all", **extra)
    except InstantiationException as error:
        cause = error.__cause__
        inner = _part_that_fails(node, path)
        # the error of an inner part names its argument without the path to the part
        if isinstance(cause, SettingError) and inner is not None:
            raise SettingError(f"{inner}.{cause.key}", cause.got, cause.expected, cause.remedy) from None
        if isinstance(cause, ValueError) and inner is not None:
            raise ValueError(f"{inner}.{cause}") from None
        if isinstance(cause, ValueError | OSError | ImportError):
            raise cause from None  # "from error" would make a cycle of causes
        raise ValueError(f"{path}: {str(cause or error).splitlines()[0]}") from error


def arguments(
    node: DictConfig, path: str, *, of: Callable[..., Any] | None = None, without: Sequence[str] = ()
) -> dict[str, Any]:
    """Checked constructor arguments from a part of the configuration, for objects built later or repeatedly.

    Args:
        of: take only the arguments of this class or function; None means the target.
        without: names to leave out.

    Raises:
        ValueError: a value has the wrong type.
    """
    names = [str(key) for key in node] if of is None else list(inspect.signature(of).parameters)
    chosen = [name for name in names if name in node and name not in ("_target_", *without)]
    given = OmegaConf.masked_copy(node, chosen)
    _check_types(of or _allowed(node, path), given, path)
    plain: Any = OmegaConf.to_container(given, resolve=True)
    return dict(plain)


def _allowed(target: DictConfig, key: str) -> Callable[..., Any]:
    """The class that a target names.

    Raises:
        SettingError: the class is not on the allow-list.
    """
    name = str(target["_target_"])
    for special in _SPECIAL:
        if special in target:
            raise SettingError(
                f"{key}.{special}", target[special], "nothing, because arguments are given by name", "leave it out"
            )
    if name not in LIGHTNING and not name.startswith(OURS):
        raise SettingError(
            f"{key}._target_", name, "a part of a training: a class of restore, or a listed one of Lightning"
        )
    try:
        found = hydra.utils.get_object(name)
    except ImportError as error:
        raise SettingError(f"{key}._target_", name, "a class that exists", "see conf/ for examples") from error
    if name not in LIGHTNING and not _is_part(found):
        raise SettingError(
            f"{key}._target_",
            name,
            "a callback, logger, model, network, DataModule, strategy or degradation of restore",
        )
    chosen: Callable[..., Any] = found
    return chosen


def _is_part(found: Any) -> bool:
    if not isinstance(found, type) or not found.__module__.startswith(OURS):
        return False
    bases = {f"{base.__module__}.{base.__qualname__}" for base in found.__mro__}
    return bool(bases & PARTS) or found.__module__.startswith(DEGRADATIONS)


def _renamed(node: Any, path: str) -> Any:
    """The configuration with the present name of each target that has been renamed."""
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
    """The dotted key of the inner part that cannot be built; Hydra's message gives the key without dots."""
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


def _refuse_unknown(target: Callable[..., Any], node: DictConfig, path: str) -> None:
    """Refuse arguments that a Lightning class does not have.

    Raises:
        SettingError
    """
    parameters = inspect.signature(target).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return
    for key in map(str, node):
        if key != "_target_" and key not in parameters:
            expected = f"nothing: {str(node['_target_']).rpartition('.')[2]} of Lightning has no such setting"
            raise SettingError(f"{path}.{key}", node[key], expected, "leave it out")


def _holds_targets(value: Any) -> bool:
    return any(True for _ in _targets(value, ""))
