"""Logs the values of a step."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from restore.callbacks.contract import log_every, trained
from restore.distributed import collectives


class StepLog(Callback):
    """Logs ``model.train_values`` every ``trainer.log_every_n_steps`` optimiser updates, at the update's number.

    A run of fewer updates logs its last one. With several processes, means over the global batch are logged.

    Args:
        is_new_run: false when the run resumes from its own checkpoint; a new run may begin at another run's step.

    Lightning's own logging happens after the checkpoint of the same step, so a run killed in between would lose a row;
    its steps count from 0, and count twice with two optimisers.
    """

    def __init__(self, *, is_new_run: bool = True) -> None:
        self.is_new_run = is_new_run
        self._first = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the step at which the run begins."""
        self._first = trainer.global_step if self.is_new_run else 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log, unless the batch does not finish a step because of gradient accumulation."""
        step, finished = trainer.global_step, (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        is_only = trainer.max_steps - self._first < log_every(trainer) and step == trainer.max_steps
        if not finished or (step % log_every(trainer) and not is_only):
            return
        train_values = trained(pl_module).train_values
        # one message for all values, and only at logged steps
        device = trainer.strategy.root_device
        dtype = torch.float32 if device.type == "mps" else torch.float64
        own = torch.stack([torch.as_tensor(value, dtype=dtype, device=device) for value in train_values.values()])
        values = dict(zip(train_values, collectives.all_reduce_mean(own).tolist(), strict=True))
        for logger in trainer.loggers:
            logger.log_metrics(values, step=step)
