"""The progress of a training, as one line for the log."""

from datetime import timedelta
from time import monotonic
from typing import Any

from lightning.pytorch import Trainer

from restore.models.base import RestorationModel


class Status:
    """Reports the progress of a training.

    Args:
        trainer, model: in use by another thread. begin: the step at which this start began.
    """

    def __init__(self, trainer: Trainer, model: RestorationModel, begin: int) -> None:
        self.trainer, self.model, self.begin = trainer, model, begin
        self._started = monotonic()

    def line(self) -> str:
        """``step 120 of 400, loss 0.0123, 35.2 samples/s, about 0:03:10 left``, or what runs between the steps."""
        trainer, step = self.trainer, self.trainer.global_step
        where = f"step {step} of {trainer.max_steps}"
        if trainer.testing:
            return f"{where}: scoring the best weights"
        if trainer.validating:
            return f"{where}: validating"
        if step == self.begin:
            return f"{where}: preparing the first step"
        values = {"loss": "train/loss", "samples/s": "samples_per_s"}
        parts = [
            where,
            *(f"{name} {self._value(key)}" for name, key in values.items() if key in self.model.train_values),
        ]
        left = (monotonic() - self._started) / (step - self.begin) * (trainer.max_steps - step)
        return ", ".join([*parts, f"about {timedelta(seconds=round(left))} left"])

    def _value(self, key: str) -> str:
        value: Any = self.model.train_values[key]
        return f"{float(value):.3g}"
