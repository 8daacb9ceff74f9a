"""Base class of all methods: the contract for predict and evaluate, validation, and the content of checkpoints.

It contains nothing about training; each method has its own training step, optimisers and schedule.
"""

import logging
import math
from typing import Any, ClassVar, Literal, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from restore.checkpoints.model_card import FORMAT
from restore.data.base import PairedData
from restore.data.single_image import SingleImageData
from restore.metrics.mean_score import MeanScore
from restore.networks.contract import RestorationNetwork

log = logging.getLogger(__name__)

Keep = Literal["best", "last"]


class RestorationModel(LightningModule):
    """A method: network, losses, optimisers, schedule and metrics.

    A method that trains in stages is also :class:`restore.callbacks.contract.Staged`.

    Attributes:
        method: the common stem of ``conf/model/<method>.yaml`` and ``restore/models/<method>.py``.
        training_settings: arguments about training, not about the network; they may change when a new run starts from a
            checkpoint.
        network: maps lq (N, in_channels, H, W), [0, 1], to pred (N, 3, scale H, scale W), not clamped. It defines the
            facts that inference needs, such as ``scale`` and ``multiple_of``; the properties below return them.
        monitor: the column of the protocol that decides which checkpoint is best.
        smaller_is_better: whether smaller values of this column are better.
        data_kind: the kind of data that it trains on, see :attr:`restore.data.base.PairedData.kind`.
        max_processes: maximum number of processes that can share a training; None for no maximum.
        is_averaged: whether to keep a moving average of the weights.
        has_idle_parameters: whether some parameters get no gradient in some steps, which matters for several processes.
        keep: which validated weights become ``best.ckpt``: those with the ``best`` score, or the ``last`` ones. None
            means :attr:`default_keep`.
        record: entries of a training's result in addition to the scores.
    """

    method: ClassVar[str]
    training_settings: ClassVar[tuple[str, ...]]
    monitor: ClassVar[str] = "psnr_y"
    smaller_is_better: ClassVar[bool] = False
    data_kind: ClassVar[str] = "image_pairs"
    max_processes: ClassVar[int | None] = None
    is_averaged: ClassVar[bool] = True
    has_idle_parameters: ClassVar[bool] = False
    network: RestorationNetwork

    def __init__(self) -> None:
        super().__init__()
        self.best = self.worst
        self.is_best = False
        self.keep: Keep | None = None
        self.record: dict[str, Any] = {}
        self.scores: dict[str, MeanScore] = {}
        self.train_values: dict[str, Any] = {}  # of the latest step, by log name

    def forward(self, lq: Tensor) -> Tensor:
        """(N, in_channels, H, W) in [0, 1] -> (N, 3, scale H, scale W), not clamped."""
        pred: Tensor = self.network(lq)
        return pred

    # --- facts of the network, see RestorationNetwork ---

    @property
    def scale(self) -> float:
        """Output side / input side."""
        return self.network.scale

    @property
    def in_channels(self) -> int:
        """Number of channels of lq."""
        return self.network.in_channels

    @property
    def multiple_of(self) -> int:
        """Sides of lq must be multiples of this."""
        return self.network.multiple_of

    @property
    def min_size(self) -> int:
        """Minimum side of lq."""
        return self.network.min_size

    @property
    def halo(self) -> int | None:
        """Receptive radius in lq pixels; None if the output depends on the whole image."""
        return self.network.halo

    @property
    def bytes_per_pixel(self) -> int:
        """Peak memory of an inference in float32, per lq pixel."""
        return self.network.bytes_per_pixel

    @property
    def protocol(self) -> str:
        """Name of the protocol that scores it."""
        return self.network.protocol

    def restore_whole(self, lq: Tensor) -> Tensor:
        """See :meth:`RestorationNetwork.restore_whole`."""
        return self.network.restore_whole(lq)

    @property
    def weights_dtype(self) -> torch.dtype:
        """Data type of the weights: float32 even if steps are computed in half precision."""
        return next(self.network.parameters()).dtype

    @property
    def worst(self) -> float:
        """The monitored score before the first validation."""
        return float("inf" if self.smaller_is_better else "-inf")

    @property
    def default_keep(self) -> Keep:
        """``last`` for a method whose best score does not mean the best weights."""
        return "best"

    @property
    def kept(self) -> Keep:
        """Which weights to keep: ``keep``, or the default."""
        return self.keep or self.default_keep

    # --- validation and test: whole images, one at a time, scored by protocol ---

    def _start_scores(self, names: list[str]) -> None:
        # every process creates the score of every set, even without images of it, because computing it is a collective
        # call; Apple's GPUs have no float64
        device = "cpu" if self.device.type == "mps" else self.device
        self.scores = {name: MeanScore(self.protocol, math.ceil(self.scale)).to(device) for name in names}

    @property
    def datamodule(self) -> PairedData | SingleImageData:
        """The data used at present, by the trainer."""
        found = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        return cast("PairedData | SingleImageData", found)

    def _score(self, batch: dict[str, Any], dataloader_idx: int) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):  # so that scores agree with `restore evaluate`
            pred = self.restore_whole(batch["lq"].to(self.weights_dtype))
        list(self.scores.values())[dataloader_idx].update(pred[0], batch["gt"][0])
        return pred

    def _means(self) -> dict[str, float]:
        return {
            f"{name}/{column}": float(value)
            for name, score in self.scores.items()
            for column, value in score.compute().items()
        }

    def on_validation_epoch_start(self) -> None:
        """Create one score per validation set."""
        self._start_scores(self.datamodule.validation_names)

    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Restore one whole image; the batch is as the DataModule documents it, with N = 1."""
        return self._score(batch, dataloader_idx)

    def on_validation_epoch_end(self) -> None:
        """Log ``val/<set>/<column>``, and the score that decides which weights to keep, from the first set."""
        means = self._means()
        self.log_dict({f"val/{key}": value for key, value in means.items()} | {"step": float(self.global_step)})
        current = next(value for key, value in means.items() if key.endswith(f"/{self.monitor}"))
        is_better = current < self.best if self.smaller_is_better else current > self.best
        self.is_best = is_better or self.kept == "last"
        self.best = current if self.is_best else self.best
        self.log(f"{self.kept}/{self.monitor}", self.best)
        self.log(self.monitor, current, prog_bar=True, logger=False)
        log.info("step %d: %s", self.global_step, ", ".join(f"{key} {value:.4f}" for key, value in means.items()))

    def on_test_epoch_start(self) -> None:
        """Create one score per test set."""
        self._start_scores(self.datamodule.test_names)

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Like :meth:`validation_step`, for the validation sets and the benchmarks."""
        return self._score(batch, dataloader_idx)

    def on_test_epoch_end(self) -> None:
        """Log ``test/<set>/<column>``."""
        means = self._means()
        self.log_dict({f"test/{key}": value for key, value in means.items()} | {"step": float(self.trainer.max_steps)})
        log.info("%s weights: %s", self.kept, ", ".join(f"{key} {value:.4f}" for key, value in means.items()))

    # --- training ---

    def log_training(self, loss: Tensor, terms: dict[str, Tensor] | None = None) -> None:
        """Store a step's loss, its terms and the learning rate for :class:`restore.callbacks.step_log.StepLog`."""
        self.train_values = {f"train/{name}": term.detach() for name, term in (terms or {}).items()}
        self.train_values["train/loss"] = loss.detach()
        self.train_values["train/lr"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("train/loss", loss.detach(), prog_bar=True, logger=False)

    def end_early(self) -> None:
        """Called when the present step becomes the last one; for methods that must act on it."""

    # --- checkpoints ---

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to rebuild the model without any configuration file."""
        checkpoint["restore"] = {
            "format": FORMAT,
            "method": self.method,
            "arguments": dict(self.hparams),
            "best": self.best,
            "record": self.record,
            "labels": self.datamodule.label_settings,
            "accumulate": self.trainer.accumulate_grad_batches,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the best score so far."""
        self.best = checkpoint["restore"]["best"]
