"""Exponential moving average of the network's weights."""

import copy
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from restore.callbacks.contract import CoarseToFine, trained
from restore.io.errors import SettingError


class EMA(Callback):
    """Averages ``model.network`` over the steps, and puts the average into the model for validation.

    Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017, with their ramp: the decay of update t
    is min(decay, t / (t + 10)), so that a short run's average does not contain its random start; for the same reason
    the ramp restarts with each level of a coarse-to-fine training. Raw and averaged weights are both in the checkpoint.
    Only the network is averaged, not a model's discriminator or frozen feature network. Does nothing for a model that
    is not ``is_averaged``.

    Args:
        decay: weight of the old average in the new one.

    Raises:
        SettingError: the decay is outside [0, 1).
    """

    def __init__(self, *, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise SettingError("callbacks.ema.decay", decay, "at least 0 and below 1")
        self.decay = decay
        self.average: nn.Module | None = None
        self._updates = 0
        self._swapped = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start with the initial weights."""
        if stage == "fit" and self.average is None and trained(pl_module).is_averaged:
            self.average = copy.deepcopy(trained(pl_module).network).requires_grad_(False)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the average to the network's device and precision."""
        if self.average is not None:
            self.average.to(pl_module.device, trained(pl_module).weights_dtype)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the weights of a finished step; with gradient accumulation, most batches do not finish one."""
        if self.average is None or trainer.global_step == self._updates:
            return
        self._updates = trainer.global_step
        age = self._updates - (pl_module.average_from if isinstance(pl_module, CoarseToFine) else 0)
        decay = min(self.decay, age / (age + 10))
        average, current = self.average, trained(pl_module).network
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), 1 - decay)
            for kept, buffer in zip(average.buffers(), current.buffers(), strict=True):
                kept.copy_(buffer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average into the network."""
        self._swap(pl_module, use_average=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the raw weights back into the network."""
        self._swap(pl_module, use_average=False)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the raw weights back if a validation is interrupted."""
        self._swap(pl_module, use_average=False)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the average in addition to the raw weights."""
        if self.average is not None:
            checkpoint["ema"] = self.average.state_dict()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Continue with the stored average; without one, start with the stored weights."""
        if self.average is None:
            return
        prefix = "network."
        raw = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
        average: dict[str, Tensor] = checkpoint.get("ema", raw)
        self.average.load_state_dict(average)
        self._updates = checkpoint["global_step"]

    def _swap(self, pl_module: LightningModule, *, use_average: bool) -> None:
        if self._swapped == use_average or self.average is None:
            return
        # swapping the tensors is free; copying would take two passes over the weights
        pairs = zip(self.average.parameters(), trained(pl_module).network.parameters(), strict=True)
        for kept, current in pairs:
            kept.data, current.data = current.data, kept.data
        self._swapped = use_average
