"""Settings for reading the pairs of a translation benchmark: those of its data, and for label maps as in training."""

import inspect
import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from restore.checkpoints import reader
from restore.checkpoints.locate import locate
from restore.checkpoints.model_card import NotOurs
from restore.config.build import arguments, build
from restore.config.training_data import degradations_of, of_command
from restore.data.labels import Labels
from restore.data.translation_dataset import TranslationSource
from restore.io.errors import SettingError

if TYPE_CHECKING:
    from restore.inference.restorer import Restorer

log = logging.getLogger(__name__)

_OF_SNAPPING = ("snap_distance", "snap_share")  # depend on the colour errors in a benchmark's files


def source_of(data: Any, restorer: "Restorer") -> TranslationSource:
    """The source of translation pairs for a restorer.

    Args:
        data: the ``data`` part of the configuration.

    Raises:
        SettingError: settings for data other than translation pairs, or label maps read differently from training.
    """
    missing = [name for name in inspect.signature(TranslationSource).parameters if name not in data]
    if missing:
        raise SettingError(
            "data",
            data.get("_target_"),
            f"pairs for translation, with data.{missing[0]}, to say how the benchmarks are read",
            "set data=translation_folder or one like it",
        )
    settings = arguments(data, "data", of=TranslationSource, without=["degradations"])
    if restorer.labels is not None:
        settings |= labels_as_trained(settings, restorer.labels.settings())
    network = {"in_channels": restorer.in_channels, "input_kind": restorer.input_kind}
    return TranslationSource(**settings | network, degradations=build(data.degradations, "data.degradations"))


def warn_of_other_inputs(data: Any, ckpt_path: str) -> None:
    """Warn if inputs are made of photos, but not as in the training of weights whose card tells its command.

    Args:
        data: the ``data`` part of the configuration. ckpt_path: as for ``open_restorer``.
    """
    command = _training_command(ckpt_path) if degradations_of(data) else None
    trained = None if command is None else of_command(command)
    if trained is not None and trained.degradations != degradations_of(data):
        log.warning(
            "data.degradations makes other inputs than those of data=%s, with which %s was trained, so the scores mean "
            "little; set data=%s, and benchmarks to pairs like those of the training",
            trained.group,
            ckpt_path,
            trained.group,
        )


def _training_command(ckpt_path: str) -> str | None:
    """The training command in the card of weights; None if there is none."""
    if not locate(ckpt_path).is_file():  # a baseline
        return None
    try:
        training = reader.read(ckpt_path)["restore"].get("training")
    except NotOurs:
        return None
    command = training.get("command") if isinstance(training, dict) else None
    return command if isinstance(command, str) else None


def labels_as_trained(given: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
    """How label maps are read: as in training, except for the two settings about inexact colours.

    Args:
        given: settings of the data; a default counts as not set. trained: settings in the checkpoint.

    Raises:
        SettingError: another setting differs from training.
    """
    defaults = {each.name: each.default for each in fields(Labels)}
    chosen = {
        key: value for key, value in given.items() if key in trained and value not in (defaults[key], trained[key])
    }
    for key, value in chosen.items():
        if key not in _OF_SNAPPING:
            raise SettingError(f"data.{key}", value, f"{trained[key]}, as in training", "leave it out")
    return {**trained, **chosen}
