"""Base of super-resolution and deblurring: one network, a pixel loss, one optimiser of Adam's family."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from restore.losses import pixel
from restore.models import optimization
from restore.models.base import RestorationModel
from restore.models.optimization import LRFactor

PixelLoss = Callable[[Tensor, Tensor], Tensor]  # pred, gt of (N, 3, H, W) -> ()


class PixelLossModel(RestorationModel):
    """Trains a network on pairs with a pixel loss, and an L1 loss between spectra if ``frequency_weight`` is above 0.

    ``lr``, ``betas``, ``frequency_weight`` and ``compile`` must be arguments of the subclass's constructor.

    Attributes:
        optimizer: the optimiser's class.
    """

    optimizer: ClassVar[Callable[..., torch.optim.Optimizer]]

    def setup(self, stage: str) -> None:
        """Compile in place, so that the names in the checkpoint do not change."""
        if stage == "fit" and self.hparams["compile"]:
            self.network.compile()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Compute the loss of one batch.

        Args:
            batch: ``lq`` (N, 3, h, w), sides multiples of ``multiple_of``, and ``gt`` (N, 3, scale h, scale w), [0, 1].

        Returns:
            The loss, ().
        """
        pred, gt = self(batch["lq"]), batch["gt"]
        name, pixel_loss = self._pixel_loss()
        terms = {name: pixel_loss(pred, gt)}
        loss = terms[name]
        weight = self.hparams["frequency_weight"]
        if weight:
            terms["frequency"] = pixel.frequency_l1(pred, gt)
            loss = loss + weight * terms["frequency"]
        self.log_training(loss, terms)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimiser, whose learning rate depends only on the step."""
        optimizer = type(self).optimizer(self.network.parameters(), **self._optimizer_settings())
        return optimization.scheduled(optimizer, self._lr_factor())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Use this run's optimiser settings, even if the checkpoint comes from another run."""
        super().on_load_checkpoint(checkpoint)
        optimization.keep_own_settings(checkpoint, self._lr_factor(), **self._optimizer_settings())

    def _optimizer_settings(self) -> dict[str, Any]:
        """The optimiser's settings, by their names in its parameter groups."""
        beta1, beta2 = self.hparams["betas"]
        return {"lr": self.hparams["lr"], "betas": (beta1, beta2)}

    @abstractmethod
    def _pixel_loss(self) -> tuple[str, PixelLoss]:
        """The loss's name in the log, and its function."""

    @abstractmethod
    def _lr_factor(self) -> LRFactor:
        """Factor of the learning rate, by the number of the update."""
