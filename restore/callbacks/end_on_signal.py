"""SIGTERM ends each of several processes by itself."""

import signal
from types import FrameType

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException


class EndOnSignal(Callback):
    """Takes SIGTERM from Lightning where several processes train together.

    Lightning's handler sends a message to the other processes from wherever it interrupts this one, perhaps in the
    middle of another message; the processes then wait for each other for ever. Here each ends as soon as it sees the
    signal, and one that waits for another finds it gone. The last checkpoint is what the run goes on from.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning has installed its own by now."""
        self._install(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """As above."""
        self._install(trainer)

    def _install(self, trainer: Trainer) -> None:
        if trainer.world_size > 1:
            signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    raise SIGTERMException(128 + number)
