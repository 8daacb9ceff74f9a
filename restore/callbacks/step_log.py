"""Hands a step's values to the loggers."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class StepLog(Callback):
    """Logs ``model.train_values`` every ``trainer.log_every_n_steps`` optimiser updates, under the update's number.

    Lightning's own logging comes after the checkpoint of the same step, so a run killed in between would lose a row,
    and its axis counts from 0, and twice with two optimisers.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """With gradient accumulation some batches finish no step."""
        step, finished = trainer.global_step, (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not finished or step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        train_values: dict[str, Any] = pl_module.train_values  # type: ignore[assignment]
        values = {key: float(value) for key, value in train_values.items()}
        for logger in trainer.loggers:
            logger.log_metrics(values, step=step)
