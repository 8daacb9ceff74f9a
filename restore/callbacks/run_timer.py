"""Counts what a result says of its making: batches and seconds."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Tally(Callback):
    """Counts the batches of this start, and the seconds of training and validation over all starts of a run.

    Each checkpoint holds the seconds behind it. What an interruption lost is not counted, for it is no part of the
    training that went on.

    Args:
        is_new_run: a new run that starts from another run's checkpoint begins at 0.

    Attributes:
        batches: of this start.
        seconds_before: of the starts before, as far as they counted.
    """

    def __init__(self, *, is_new_run: bool) -> None:
        self.is_new_run = is_new_run
        self.batches, self.seconds_before = 0, 0.0
        self._began = self._ended = 0.0

    @property
    def seconds(self) -> float:
        """Of this start; 0 where it found nothing left to train."""
        return (self._ended or time.perf_counter()) - self._began if self._began else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The state of a checkpoint is known by now."""
        self._began = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """One more."""
        self.batches += 1

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The test that follows is no training."""
        self._ended = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"seconds": self.seconds_before + self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the run's own checkpoint; one of another run counts for nothing."""
        self.seconds_before = 0.0 if self.is_new_run else float(state_dict["seconds"])
