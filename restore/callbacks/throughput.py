"""Speed of a training, and the share of time that it waits for data."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from restore.callbacks.contract import log_every, trained


class Throughput(Callback):
    """Logs ``samples_per_s`` and ``data_share``: the share of time spent waiting for the next batch.

    Both are means since the previous logged step; validation is not counted.
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
        """Count the time since the start of the batch as work; on a GPU this is right on average over many steps."""
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
        """Do not count the validation as waiting."""
        self._ended = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See above."""
        self._ended = None
