"""Opens anything that restores a picture: a checkpoint, shipped weights and the baselines are rows of one table."""

import math
from collections.abc import Callable
from pathlib import Path

from restore.checkpoints import model_card
from restore.checkpoints.model_card import NotOurs
from restore.config.inference import Adaptation, Inference
from restore.inference.network import NetworkRestorer
from restore.inference.restorer import Bicubic, Identity, Restorer
from restore.inference.zero_shot import AdaptedRestorer, ZeroShotRestorer
from restore.models import loading
from restore.models.base import RestorationModel
from restore.models.third_party import load_foreign
from restore.models.zero_shot.model import ZeroShotSuperResolution


def _open_zero_shot(scale: float | None, inference: Inference, adaptation: Adaptation) -> Restorer:
    return ZeroShotRestorer(_given(scale, "zero_shot"), inference, adaptation)


def _open_bicubic(scale: float | None, inference: Inference, adaptation: Adaptation) -> Restorer:
    return Bicubic(_given(scale, "bicubic"))


def _given(scale: float | None, ckpt_path: str) -> float:
    if scale is None:
        raise ValueError(
            f"scale is not given, and ckpt_path={ckpt_path} has none of its own; set scale=2, for example, or name "
            f"weights that have one, {' or '.join(f'ckpt_path={name}' for name in model_card.shipped())}"
        )
    return scale


def _open_identity(scale: float | None, inference: Inference, adaptation: Adaptation) -> Restorer:
    if scale not in (None, 1):
        raise ValueError(f"scale is {scale:g}, but ckpt_path=identity changes nothing; set scale=1 or leave it out")
    return Identity()


_OPENERS: dict[str, Callable[[float | None, Inference, Adaptation], Restorer]] = {
    "zero_shot": _open_zero_shot,
    "bicubic": _open_bicubic,
    "identity": _open_identity,
}


def open_restorer(
    ckpt_path: str,
    *,
    scale: float | None = None,
    inference: Inference | None = None,
    adaptation: Adaptation | None = None,
) -> Restorer:
    """Open a checkpoint file, or what has a name: shipped weights, ``zero_shot``, ``bicubic``, ``identity``.

    A file of other people's weights is opened too, where spandrel knows their architecture.

    Args:
        scale: needed by ``zero_shot`` and ``bicubic``; for a checkpoint it must be the trained one, or None.
        inference: how a network is run. adaptation: how ``zero_shot`` trains.

    Raises:
        ValueError, FileNotFoundError: what was given cannot restore, or not at that scale.
    """
    inference = inference or Inference()
    if scale is not None and not math.isfinite(scale):
        raise ValueError(f"scale is {scale}, expected a number")
    scale = int(scale) if scale is not None and scale == round(scale) else scale  # 2.0 is a 2 on a command line
    if ckpt_path in _OPENERS:
        if inference.pool_window is not None:
            raise ValueError(f"pool_window is {inference.pool_window}, but {ckpt_path} takes no mean over the image")
        return _OPENERS[ckpt_path](scale, inference, adaptation or Adaptation())
    try:
        model = loading.load_model(ckpt_path, inference.weights)
    except NotOurs as unknown:
        model = load_foreign(Path(ckpt_path), unknown)
    if inference.pool_window is not None:
        model.pool_locally(inference.pool_window)
    if scale not in (None, model.scale):
        raise ValueError(
            f"scale is {scale:g}, but {ckpt_path} was trained for {model.scale:g}; leave scale out or train another"
        )
    return _restorer_of(restorer_name(ckpt_path), model, inference)


def _restorer_of(name: str, model: RestorationModel, inference: Inference) -> Restorer:
    if model.method != "zero_shot":
        return NetworkRestorer(name, model, inference)
    assert isinstance(model, ZeroShotSuperResolution)
    return AdaptedRestorer(name, model, inference)


def restorer_name(ckpt_path: str) -> str:
    """A short name for tables and folders: ``bicubic``, or the file's, after its run's name and id."""
    if ckpt_path in _OPENERS or ckpt_path in model_card.shipped():
        return ckpt_path
    path = Path(ckpt_path).resolve()
    if path.parent.name != "checkpoints":
        return path.stem
    run = path.parent.parent
    return f"{run.parent.name}_{run.name}_{path.stem}"
