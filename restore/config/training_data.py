"""The data that weights were trained on, as far as the training command in their card tells it."""

import shlex
from typing import Any, NamedTuple

from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

_WORDS = ("experiment=", "data=", "data.")  # the settings of a command that determine its data


class TrainingData(NamedTuple):
    """The data of a training.

    Attributes:
        group: the choice of ``data=``. degradations: ``data.degradations`` as plain values; [] without any.
    """

    group: str
    degradations: list[Any]


def of_command(command: str) -> TrainingData | None:
    """The data of a training command, composed but not built; to be called within a command of ours.

    Args:
        command: the line, such as ``restore fit experiment=translation_emoji``. It may come from anywhere: words that
            are not about data, or read variables, are left out.

    Returns:
        None if the line cannot be composed, for example because it names an experiment that does not exist here.
    """
    try:
        words = [word for word in shlex.split(command) if word.startswith(_WORDS) and "$" not in word]
        cfg = compose("fit", words, return_hydra_config=True)
    except (ValueError, HydraException, OmegaConfBaseException):
        return None
    return TrainingData(str(cfg.hydra.runtime.choices["data"]), degradations_of(cfg.data))


def degradations_of(data: Any) -> list[Any]:
    """``data.degradations`` of a configuration as plain values."""
    found = OmegaConf.select(data, "degradations")
    plain: Any = [] if found is None else OmegaConf.to_container(found)
    return list(plain)
