"""Builds the parts of a training: model and data, checked against each other, and the checkpoint to resume from."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.config.build import build
from restore.data import setting_bounds
from restore.data.base import PairedData
from restore.data.single_image import SingleImageData
from restore.io.errors import SettingError
from restore.models import loading
from restore.models.base import RestorationModel

if TYPE_CHECKING:
    from restore.config.schemas import FitConfig

log = logging.getLogger(__name__)

Data = PairedData | SingleImageData


def model_and_data(cfg: "FitConfig", *, is_resumed: bool, world_size: int) -> tuple[RestorationModel, Data]:
    """Build the model, with the weights of ``init_from``, and its data.

    Args:
        cfg: the root of ``restore fit``.
        is_resumed: the weights come from a checkpoint to resume from, so ``init_from`` is ignored.
        world_size: number of processes of the run.

    Raises:
        SettingError: settings of model and data contradict each other.
    """
    model: RestorationModel = build(cfg.model, "model")
    if model.max_processes is not None and world_size > model.max_processes:
        raise SettingError(
            "trainer.devices",
            cfg.trainer.devices,
            f"{model.max_processes}, because model={model.method} trains on one image, in one process",
            "set trainer.devices=1, or restore a folder with `restore predict devices=...`, one image each",
        )
    data: Data = build(cfg.data, "data", seed=cfg.seed)
    _check_data(model, data)
    warning = setting_bounds.check_batch_memory(
        batch_size=-(-data.batch_size // world_size),
        patch_size=data.patch_size,
        scale=data.scale,
        memory=setting_bounds.machine_memory(),
    )
    if warning is not None:
        log.warning(warning)
    if cfg.init_from is not None and not is_resumed:
        loading.init_from(model, cfg.init_from)
    return model, data


def _check_data(model: RestorationModel, data: Data) -> None:
    if data.kind != model.data_kind:
        raise SettingError(
            "data", data.kind, f"{model.data_kind}, because of model={model.method}", "choose another data=..."
        )
    if data.scale != model.scale:
        raise SettingError("data.scale", data.scale, f"model.scale, which is {model.scale}", "leave data.scale out")
    side, why = data.patch_size // data.scale, f"because {model.method} downsamples its input"
    if side % model.multiple_of:
        expected = f"a multiple of {model.multiple_of * data.scale}, {why}"
        raise SettingError("data.patch_size", data.patch_size, expected)
    if side < model.min_size:
        raise SettingError("data.patch_size", data.patch_size, f"at least {model.min_size * data.scale}, {why}")


def read_resume(resume: Path, model: RestorationModel, trainer: Any, *, is_new_run: bool) -> dict[str, Any]:
    """Read the checkpoint to resume from.

    Args:
        trainer: the trainer's settings.
        is_new_run: false when the checkpoint is the run's own; a run killed after its last step may then have none
            left.

    Raises:
        SettingError: no steps are left. ValueError: see :func:`restore.models.loading.resumable`.
    """
    stored = loading.resumable(resume, model, trainer.accumulate_grad_batches)
    begin = int(stored["global_step"])
    if is_new_run and trainer.max_time is None and begin >= trainer.max_steps:
        raise SettingError(
            "trainer.max_steps", trainer.max_steps, f"more than {begin}, the step of resume={resume}", "set it higher"
        )
    return stored
