"""Hands a step's values to the loggers."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from restore.distributed import collectives


class StepLog(Callback):
    """Logs ``model.train_values`` every ``trainer.log_every_n_steps`` optimiser updates, under the update's number.

    A run of fewer updates logs its last one.

    Lightning's own logging comes after the checkpoint of the same step, so a run killed in between would lose a row,
    and its axis counts from 0, and twice with two optimisers. Several processes log the means over the global batch.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """With gradient accumulation some batches finish no step."""
        step, finished = trainer.global_step, (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        every = min(trainer.log_every_n_steps, trainer.max_steps)  # type: ignore[attr-defined]
        if not finished or step % every:
            return
        train_values: dict[str, Any] = pl_module.train_values  # type: ignore[assignment]
        # one message for all values, and only at steps that are logged
        device = trainer.strategy.root_device
        dtype = torch.float32 if device.type == "mps" else torch.float64
        own = torch.stack([torch.as_tensor(value, dtype=dtype, device=device) for value in train_values.values()])
        values = dict(zip(train_values, collectives.all_reduce_mean(own).tolist(), strict=True))
        for logger in trainer.loggers:
            logger.log_metrics(values, step=step)
