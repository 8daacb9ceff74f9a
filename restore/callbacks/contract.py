"""What callbacks need from a model, as protocols: callbacks and models do not import each other."""

from typing import Any, Protocol, cast, runtime_checkable

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn

from restore.metrics.mean_score import MeanScore


class TrainedModel(Protocol):
    """The interface of every method, see :class:`restore.models.base.RestorationModel`."""

    best: float
    is_best: bool
    train_values: dict[str, Any]

    @property
    def network(self) -> nn.Module:
        """The network, whose weights determine the result."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    @property
    def weights_dtype(self) -> torch.dtype:
        """Data type of the weights."""

    @property
    def scale(self) -> float:
        """Output side / input side."""

    @property
    def protocol(self) -> str:
        """Name of the protocol, which defines the metrics."""

    @property
    def monitor(self) -> str:
        """The metric that decides which weights are best."""

    @property
    def scores(self) -> dict[str, MeanScore]:
        """The scores of each set, in the order of the loaders."""

    @property
    def datamodule(self) -> LightningDataModule:
        """The trainer's data."""

    @property
    def worst(self) -> float:
        """The monitored score before the first validation."""

    @property
    def is_averaged(self) -> bool:
        """Whether a moving average of the weights makes sense."""

    def end_early(self) -> None:
        """Make the present step the last one."""


@runtime_checkable
class Staged(Protocol):
    """A model that trains in stages, whose steps may take different times.

    Attributes:
        period: number of steps within which every periodic action happens once.
    """

    period: int

    def stage_lengths(self, max_steps: int) -> dict[str, int]:
        """Maximum number of steps of each stage of a training, by the stage's name."""

    def shorten_stages(self) -> None:
        """Give each stage the same number of steps, before a short training that must include all stages."""


@runtime_checkable
class CoarseToFine(Staged, Protocol):
    """A model whose stages train the levels of an image pyramid.

    Attributes:
        average_from: the step at which the training of the present level began; the moving average restarts there.
    """

    average_from: int

    def plan(self) -> str:
        """The schedule of the stages, in Markdown; called when training starts."""

    def stage_ending_at(self, step: int) -> str | None:
        """Name of the stage whose last update is ``step``, counted from 1."""

    def level_outputs(self, lq: Tensor) -> list[Tensor | None]:
        """The outputs of all levels, from low to high resolution, at the size of the highest.

        Args:
            lq: float, (N, in_channels, H, W), [0, 1], any H, W.

        Returns:
            (N, 3, scale H, scale W) each; None for a level that is not trained yet.
        """


@runtime_checkable
class HasFeatures(Protocol):
    """A network that provides its feature maps."""

    def features(self, lq: Tensor) -> list[Tensor]:
        """Feature maps (N, C, H, W): of the first convolution, then of each group in order."""


def trained(pl_module: LightningModule) -> TrainedModel:
    """The model passed to a hook, which Lightning types as its base class."""
    return cast("TrainedModel", pl_module)


def palette(pl_module: LightningModule) -> list[list[int]] | None:
    """Red, green and blue of each class, 0 to 255, if the input is label maps with known colours."""
    found: dict[str, Any] | None = getattr(trained(pl_module).datamodule, "label_settings", None)
    return None if found is None else found["palette"]


def log_every(trainer: Trainer) -> int:
    """``trainer.log_every_n_steps``."""
    return int(trainer.log_every_n_steps)  # type: ignore[attr-defined]  # Lightning sets it without declaring it
