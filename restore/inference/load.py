"""Opens restorers: checkpoints, shipped weights, third-party weights and the baselines."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from restore.checkpoints.model_card import NotOurs
from restore.config.inference import Inference, ZeroShotTraining
from restore.inference.auto import AutoRestorer
from restore.inference.baselines import Bicubic, Identity
from restore.inference.checkpoint_names import AUTO, auto_weights, needed_scale, restorer_name
from restore.inference.network import NetworkRestorer
from restore.inference.restorer import Restorer
from restore.inference.zero_shot import ZeroShotNetworkRestorer, ZeroShotRestorer
from restore.io.errors import SettingError
from restore.models.loading import load_network
from restore.models.third_party import load_foreign
from restore.models.zero_shot.network import ZeroShotNetwork
from restore.networks.arguments import ArgumentError
from restore.networks.contract import RestorationNetwork


def _open_zero_shot(scale: float | None, inference: Inference, training: ZeroShotTraining) -> Restorer:
    return ZeroShotRestorer(needed_scale("zero_shot", scale), inference, training)


def _open_bicubic(scale: float | None, inference: Inference, training: ZeroShotTraining) -> Restorer:
    return Bicubic(needed_scale("bicubic", scale))


def _open_identity(scale: float | None, inference: Inference, training: ZeroShotTraining) -> Restorer:
    if scale not in (None, 1):
        raise SettingError("scale", f"{scale:g}", "1, because ckpt_path=identity changes nothing", "leave scale out")
    return Identity()


_OPENERS: dict[str, Callable[[float | None, Inference, ZeroShotTraining], Restorer]] = {
    "zero_shot": _open_zero_shot,
    "bicubic": _open_bicubic,
    "identity": _open_identity,
}

# networks that are not run on the whole input or on tiles of it
_OTHERWISE: dict[type[RestorationNetwork], Callable[[str, Any, Inference], Restorer]] = {
    ZeroShotNetwork: ZeroShotNetworkRestorer
}


def _open_auto(scale: float | None, inference: Inference, training: ZeroShotTraining) -> Restorer:
    opened = [open_restorer(name, inference=inference) for name in auto_weights(scale)]
    if not opened:
        return _open_zero_shot(scale, inference, training)
    return AutoRestorer(*opened)


def open_restorer(
    ckpt_path: str,
    *,
    scale: float | None = None,
    inference: Inference | None = None,
    zero_shot: ZeroShotTraining | None = None,
) -> Restorer:
    """Open a checkpoint file, or a name: shipped weights, ``zero_shot``, ``bicubic``, ``identity``, ``auto``.

    Files of third-party weights work too if spandrel knows their architecture.

    Args:
        scale: required by ``zero_shot`` and ``bicubic``; None means 2 for ``auto``; for a checkpoint, None or the scale
            that it was trained for.
        inference: how the network runs. zero_shot: how ``zero_shot`` trains.

    Raises:
        ValueError, FileNotFoundError: the checkpoint cannot restore images, or not at that scale.
    """
    inference = inference or Inference()
    if scale is not None and not math.isfinite(scale):
        raise SettingError("scale", scale, "a number")
    scale = int(scale) if scale is not None and scale == round(scale) else scale  # 2.0 equals 2 on the command line
    if ckpt_path == AUTO:
        return _open_auto(scale, inference, zero_shot or ZeroShotTraining())
    if ckpt_path in _OPENERS:
        if inference.pool_window is not None:
            expected = f"null, because {ckpt_path} takes no mean over the image"
            raise SettingError("pool_window", inference.pool_window, expected, "leave it out")
        return _OPENERS[ckpt_path](scale, inference, zero_shot or ZeroShotTraining())
    try:
        network = load_network(ckpt_path, inference.weights)
    except NotOurs as unknown:
        network = load_foreign(Path(ckpt_path), unknown)
    if inference.pool_window is not None:
        try:
            network.pool_locally(inference.pool_window)
        except ArgumentError as error:
            raise SettingError("pool_window", error.got, error.expected, "leave it out") from error
    if scale not in (None, network.scale):
        raise SettingError(
            "scale",
            f"{scale:g}",
            f"{network.scale:g}, which {ckpt_path} was trained for",
            "leave scale out or train another",
        )
    return _OTHERWISE.get(type(network), NetworkRestorer)(restorer_name(ckpt_path), network, inference)
