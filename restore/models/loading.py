"""The table of methods, and how a checkpoint becomes a network or LightningModule without a configuration file."""

import importlib
import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from restore.checkpoints import reader
from restore.checkpoints.reader import LOADING_ERRORS
from restore.io.errors import SettingError
from restore.io.wording import counted
from restore.models.claims import refuse_claims
from restore.networks.contract import RestorationNetwork

if TYPE_CHECKING:
    from restore.models.base import RestorationModel


log = logging.getLogger(__name__)


class Method(NamedTuple):
    """Dotted paths of a method's classes.

    Attributes:
        network: run by inference; its import needs only torch. model: the LightningModule that trains it.
        defaults: defaults of the model that differ from the network's, for files written before an argument existed; so
            the network is rebuilt without importing the model.
    """

    network: str
    model: str
    defaults: Mapping[str, Any] = MappingProxyType({})


# a new method adds its line here
METHODS = {
    "super_resolution": Method(
        "restore.networks.information_gain.InformationGainNetwork",
        "restore.models.super_resolution.SuperResolution",
        {"groups": 4, "blocks": 4, "channels": 32, "image_skip": "bicubic"},
    ),
    "deblur": Method(
        "restore.networks.attention_unet.AttentionUNet", "restore.models.deblur.Deblur", {"global_residual": True}
    ),
    "zero_shot": Method(
        "restore.models.zero_shot.network.ZeroShotNetwork", "restore.models.zero_shot.model.ZeroShotSuperResolution"
    ),
    "translation": Method(
        "restore.models.translation.network.TranslationNetwork", "restore.models.translation.model.Translation"
    ),
}

_PREFIXES = ("module.", "_orig_mod.", "network.", "model.", "generator.")  # of parallel, compiling and other wrappers


def network_arguments(checkpoint: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """The arguments from which the network of a checkpoint is built.

    Args:
        checkpoint: from :func:`restore.checkpoints.reader.read`. path: of its file, for errors.

    Raises:
        SettingError: a method that this version does not know.
    """
    return _arguments(_method(checkpoint, path), checkpoint["restore"]["arguments"])


def load_network(path: str | Path, weights: str = "ema") -> RestorationNetwork:
    """Rebuild the network of a checkpoint, in evaluation mode, on the CPU. Imports nothing needed only for training.

    Raises:
        FileNotFoundError, SettingError: see :func:`restore.checkpoints.reader.read`; also, weights that do not fit the
            network described in the file.
    """
    return network_of(reader.read(path), path, weights)


def network_of(checkpoint: Mapping[str, Any], path: str | Path, weights: str = "ema") -> RestorationNetwork:
    """Build the network of a checkpoint already read, with its weights, in evaluation mode, on the CPU.

    Args:
        checkpoint: from :func:`restore.checkpoints.reader.read`. path: of its file, for errors.
        weights: ``ema`` or ``raw``.

    Raises:
        SettingError: the weights do not fit the network described in the file.
    """
    state = reader.network_weights(checkpoint, weights)
    method = _method(checkpoint, path)
    try:
        arguments = _arguments(method, checkpoint["restore"]["arguments"])
        refuse_claims(_class(method.network), arguments, state)
        network: RestorationNetwork = _class(method.network)(**arguments)
        network.load_state_dict(state)
    except LOADING_ERRORS as error:
        raise _misfit(path, error) from error
    network.label_settings = checkpoint["restore"].get("labels")
    return network.eval()


def load_model(
    path: str | Path, weights: str = "ema", *, trained_by: "type[RestorationModel] | None" = None
) -> "RestorationModel":
    """Rebuild the LightningModule of a checkpoint, in evaluation mode, on the CPU.

    Args:
        trained_by: the model's class, if the network is trained by another class than the method's own.

    Raises:
        FileNotFoundError, SettingError: see :func:`load_network`.
    """
    checkpoint = reader.read(path)
    state = reader.network_weights(checkpoint, weights)
    method = _method(checkpoint, path)
    try:
        refuse_claims(_class(method.network), _arguments(method, checkpoint["restore"]["arguments"]), state)
        build: Any = trained_by or _class(method.model)
        model: RestorationModel = build(**checkpoint["restore"]["arguments"])
        model.network.load_state_dict(state)
    except LOADING_ERRORS as error:
        raise _misfit(path, error) from error
    return model.eval()


def _method(checkpoint: Mapping[str, Any], path: str | Path) -> Method:
    name = checkpoint["restore"]["method"]
    if name not in METHODS:
        raise SettingError("ckpt_path", path, f"one of {', '.join(METHODS)}, but it holds {name}", "update the package")
    return METHODS[name]


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _arguments(method: Method, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored arguments that the network takes; one that was added later gets the model's default."""
    known = inspect.signature(_class(method.network)).parameters
    defaults = {name: parameter.default for name, parameter in known.items()} | dict(method.defaults)
    return {name: stored.get(name, defaults[name]) for name in known}


def _misfit(path: str | Path, error: BaseException) -> SettingError:
    reason = " ".join(str(error).split())
    return SettingError(
        "ckpt_path", path, f"weights that fit the model it describes ({reason})", "use another checkpoint"
    )


def load_into(network: RestorationNetwork, weights: Mapping[str, Tensor], method: str) -> dict[str, list[str]]:
    """Load weights into a network where names and shapes agree, ignoring a common prefix of all names.

    Args:
        method: name of the method, for the error.

    Returns:
        Names under ``missing`` (left at their initial values), ``unexpected`` and ``reshaped`` (both left out).

    Raises:
        ValueError: no name and shape agrees.
    """
    own = network.state_dict()
    best = dict(weights)
    while not own.keys() & best.keys():
        prefix = next((each for each in _PREFIXES if all(name.startswith(each) for name in best)), None)
        if prefix is None:
            break
        best = {name.removeprefix(prefix): value for name, value in best.items()}
    if not any(name in own and own[name].shape == value.shape for name, value in best.items()):
        expected, found = next(iter(own)), next(iter(best))
        raise ValueError(
            f"ckpt_path: none of its weights fits model={method}, which has names like {expected}, the file has "
            f"{found}; choose another model or other settings for it"
        )
    return network.init_from(best)


def init_from(model: "RestorationModel", path: str) -> None:
    """Start a training from a checkpoint's averaged weights where names and shapes agree; log the others.

    Raises:
        SettingError: no name and shape agrees.
    """
    weights = reader.network_weights(reader.read(path, setting="init_from"), "ema")
    try:
        report = model.network.init_from(weights)
    except ValueError as error:
        expected = f"a checkpoint whose weights fit model={model.method} ({error})"
        raise SettingError("init_from", path, expected, "choose another") from error
    for key, names in report.items():
        if names:
            log.info("init_from: %s: %s", counted(len(names), f"{key} weight"), ", ".join(names[:10]))


def resumable(path: str | Path, model: "RestorationModel", accumulate: int) -> dict[str, Any]:
    """Read a checkpoint from which a training will resume.

    Args:
        accumulate: batches per step; the position in a run is counted in batches.

    Raises:
        ValueError: the checkpoint holds another network, or counts differently.
    """
    checkpoint = reader.read(path, setting="resume")
    if "global_step" not in checkpoint:
        raise SettingError("resume", path, "a checkpoint of a run, but it holds only weights", f"use init_from={path}")
    # a setting that is newer than the checkpoint had its default value
    defaults = {name: each.default for name, each in inspect.signature(type(model)).parameters.items()}
    stored, given = {**defaults, **checkpoint["restore"]["arguments"]}, dict(model.hparams)
    other = [key for key in sorted(given) if key not in model.training_settings and stored.get(key) != given[key]]
    if other:
        changes = ", ".join(f"{key}: {stored.get(key)!r} -> {given[key]!r}" for key in other)
        raise ValueError(
            f"resume: {path} holds another network (model.{changes}); set the same, or use init_from, which "
            "takes over the weights that fit"
        )
    if checkpoint["restore"]["accumulate"] != accumulate:
        raise SettingError(
            "trainer.accumulate_grad_batches",
            accumulate,
            f"{checkpoint['restore']['accumulate']}, as in {path}",
            "set the same, or use init_from",
        )
    return checkpoint
