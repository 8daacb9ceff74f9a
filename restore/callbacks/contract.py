"""What callbacks ask of a model. Matched by structure: callbacks and models do not import each other."""

from typing import Any, Protocol, cast, runtime_checkable

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn

from restore.metrics.mean_score import MeanScore


class TrainedModel(Protocol):
    """What every method offers, see :class:`restore.models.base.RestorationModel`."""

    best: float
    is_best: bool
    train_values: dict[str, Any]

    @property
    def network(self) -> nn.Module:
        """The part whose weights make the result."""

    @property
    def device(self) -> torch.device:
        """Of the weights."""

    @property
    def weights_dtype(self) -> torch.dtype:
        """Of the weights."""

    @property
    def scale(self) -> float:
        """Output side / input side."""

    @property
    def protocol(self) -> str:
        """Name of the metrics."""

    @property
    def monitor(self) -> str:
        """The metric that chooses the best weights."""

    @property
    def scores(self) -> dict[str, MeanScore]:
        """Of each set, in the order of the loaders."""

    @property
    def datamodule(self) -> LightningDataModule:
        """Of the trainer."""

    @property
    def worst(self) -> float:
        """The monitored score before the first validation."""

    @property
    def is_averaged(self) -> bool:
        """Whether a moving average of the weights makes sense."""

    def end_early(self) -> None:
        """The present step is to be the last one."""


@runtime_checkable
class Staged(Protocol):
    """A model that trains in stages, whose steps take different times.

    Attributes:
        period: number of steps after which everything that is done between steps has been done once.
    """

    period: int

    def stage_lengths(self, max_steps: int) -> dict[str, int]:
        """Largest number of steps of each stage of a training, by the stage's name."""

    def shorten_stages(self) -> None:
        """Before a short training that has to see all stages: give each the same number of steps."""


@runtime_checkable
class CoarseToFine(Staged, Protocol):
    """A model whose stages train the levels of an image pyramid.

    Attributes:
        average_from: the step at which the training of the present level began, which restarts a moving average.
    """

    average_from: int

    def plan(self) -> str:
        """What will be trained when, in Markdown; asked when training starts."""

    def stage_ending_at(self, step: int) -> str | None:
        """Name of the stage whose last update was number ``step``, counted from 1."""

    def level_outputs(self, lq: Tensor) -> list[Tensor | None]:
        """The outputs of all levels, from low to high, at the size of the highest.

        Args:
            lq: float, (N, in_channels, H, W), [0, 1], any H, W.

        Returns:
            (N, 3, scale H, scale W) each; None stands for a level that is not trained yet.
        """


@runtime_checkable
class HasFeatures(Protocol):
    """A network that gives its feature maps."""

    def features(self, lq: Tensor) -> list[Tensor]:
        """(N, C, H, W) each: of the first convolution, then of the groups in order."""


def trained(pl_module: LightningModule) -> TrainedModel:
    """The model of a hook, for which Lightning declares its base class."""
    return cast("TrainedModel", pl_module)


def palette(pl_module: LightningModule) -> list[list[int]] | None:
    """Red, green and blue of each class, 0 to 255, where the input is label maps whose colours are known."""
    found: dict[str, Any] | None = getattr(trained(pl_module).datamodule, "label_settings", None)
    return None if found is None else found["palette"]


def log_every(trainer: Trainer) -> int:
    """``trainer.log_every_n_steps``."""
    return int(trainer.log_every_n_steps)  # type: ignore[attr-defined]  # Lightning sets it without declaring it
