"""Exponential moving average of the network's weights."""

import copy
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn


class EMA(Callback):
    """Averages ``model.network`` over the steps, and lends the average to validation.

    Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017, with their ramp: the decay of update
    t is min(decay, t / (t + 10)), so that a short run does not average in its random start. Raw and averaged weights
    are both in the checkpoint. Only the network is averaged: a model's discriminator or frozen feature network is not.
    A model that trains in stages says in ``average_from`` when the ramp begins anew, for the same reason.
    A model that is not ``is_averaged`` is left alone.

    Args:
        decay: share of the old average in the new one.
    """

    def __init__(self, *, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"callbacks.ema.decay is {decay}, expected at least 0 and below 1")
        self.decay = decay
        self.average: nn.Module | None = None
        self._updates = 0
        self._lent = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start from the network as it stands."""
        if stage == "fit" and self.average is None and pl_module.is_averaged:
            self.average = copy.deepcopy(self._network(pl_module)).requires_grad_(False)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Follow the network to its device and its precision."""
        if self.average is not None:
            self.average.to(pl_module.device, next(self._network(pl_module).parameters()).dtype)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Average in the weights of a finished step; with gradient accumulation some batches finish none."""
        if self.average is None or trainer.global_step == self._updates:
            return
        self._updates = trainer.global_step
        age: int = self._updates - pl_module.average_from  # type: ignore[operator, assignment]
        decay = min(self.decay, age / (age + 10))
        average, current = self.average, self._network(pl_module)
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), 1 - decay)
            for kept, buffer in zip(average.buffers(), current.buffers(), strict=True):
                kept.copy_(buffer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lend the average to the network."""
        self._swap(pl_module, lend=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take it back."""
        self._swap(pl_module, lend=False)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take it back when validation is interrupted."""
        self._swap(pl_module, lend=False)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the average beside the raw weights."""
        if self.average is not None:
            checkpoint["ema"] = self.average.state_dict()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on from the stored average; a run without one starts it from its weights."""
        if self.average is None:
            return
        prefix = "network."
        raw = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
        average: dict[str, Tensor] = checkpoint.get("ema", raw)
        self.average.load_state_dict(average)
        self._updates = checkpoint["global_step"]

    def _swap(self, model: LightningModule, *, lend: bool) -> None:
        if self._lent == lend or self.average is None:
            return
        # exchanging the tensors costs nothing, where copying them would cost two passes over the weights
        for kept, current in zip(self.average.parameters(), self._network(model).parameters(), strict=True):
            kept.data, current.data = current.data, kept.data
        self._lent = lend

    def _network(self, model: LightningModule) -> nn.Module:
        network = model.network
        assert isinstance(network, nn.Module)
        return network
