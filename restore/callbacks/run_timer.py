"""Counts the batches and seconds of a training, for its result."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from restore.checkpoints.renames import RUN_TIMER_STATE


class RunTimer(Callback):
    """Counts the batches of this start, and the seconds of training and validation over all starts of a run.

    Each checkpoint holds the seconds spent up to it. Steps that an interruption lost are not counted: they are no part
    of the training that went on.

    Args:
        is_new_run: a new run that starts from another run's checkpoint begins at 0.

    Attributes:
        batches: of this start.
        seconds_before: of earlier starts, up to the checkpoint that this one resumed from.
    """

    def __init__(self, *, is_new_run: bool) -> None:
        self.is_new_run = is_new_run
        self.batches, self.seconds_before = 0, 0.0
        self._began = self._ended = 0.0

    @property
    def state_key(self) -> str:
        """The name of this class in the first checkpoints, so that they can still be resumed."""
        return RUN_TIMER_STATE

    @property
    def seconds(self) -> float:
        """Of this start; 0 where it found nothing left to train."""
        return (self._ended or time.perf_counter()) - self._began if self._began else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A checkpoint's state has been loaded by now."""
        self._began = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Count it."""
        self.batches += 1

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exclude the test that follows."""
        self._ended = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"seconds": self.seconds_before + self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the run's own checkpoint; another run's seconds do not count."""
        self.seconds_before = 0.0 if self.is_new_run else float(state_dict["seconds"])
