"""Counts the batches and seconds of a training, for its result."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from restore.checkpoints.renames import RUN_TIMER_STATE


class RunTimer(Callback):
    """Counts the batches of this start, and the seconds of training and validation over all starts of a run.

    Each checkpoint stores the seconds spent up to it. Steps lost by an interruption are not counted, because they are
    not part of the training that continued.

    Args:
        is_new_run: a new run that starts from another run's checkpoint counts from 0.

    Attributes:
        batches: number in this start.
        seconds_before: seconds of earlier starts, up to the checkpoint from which this one resumed.
    """

    def __init__(self, *, is_new_run: bool) -> None:
        self.is_new_run = is_new_run
        self.batches, self.seconds_before = 0, 0.0
        self._began = self._ended = 0.0

    @property
    def state_key(self) -> str:
        """Name of this class in early checkpoints, so that these can still be resumed."""
        return RUN_TIMER_STATE

    @property
    def seconds(self) -> float:
        """Seconds of this start; 0 if nothing was left to train."""
        return (self._ended or time.perf_counter()) - self._began if self._began else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a checkpoint's state has been loaded by now."""
        self._began = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Count the batch."""
        self.batches += 1

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock, so that the test that follows is not counted."""
        self._ended = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far, stored in checkpoints."""
        return {"seconds": self.seconds_before + self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the seconds from the run's own checkpoint; those of another run do not count."""
        self.seconds_before = 0.0 if self.is_new_run else float(state_dict["seconds"])
