"""Speed of a training, and the fraction of time that it waits for data."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from restore.callbacks.contract import log_every, trained


class Throughput(Callback):
    """Logs ``samples_per_s`` and ``data_share``, the fraction of time spent waiting for the next batch.

    Both are means since the previous logged step, without validations.
    """

    def __init__(self) -> None:
        self._ended: float | None = None
        self._waited = self._worked = 0.0
        self._samples = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Count the time since the end of the previous batch as waiting."""
        self._started = time.perf_counter()
        if self._ended is not None:
            self._waited += self._started - self._ended

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: dict[str, Any], batch_idx: int
    ) -> None:
        """Count the time since the start of the batch as work; on a GPU this is only right averaged over many steps."""
        self._ended = time.perf_counter()
        self._worked += self._ended - self._started
        self._samples += len(batch["lq"]) * trainer.world_size
        total = self._waited + self._worked
        values = {"samples_per_s": self._samples / total, "data_share": self._waited / total}
        trained(pl_module).train_values.update(values)
        pl_module.log_dict(values, prog_bar=True, logger=False)
        if trainer.global_step % log_every(trainer) == 0:
            self._waited = self._worked = 0.0
            self._samples = 0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count no waiting time during the validation."""
        self._ended = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Resume counting after the validation."""
        self._ended = None
