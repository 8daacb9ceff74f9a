"""Stops a run on a signal: after the current step, in all processes alike, with a checkpoint."""

import signal
import threading
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from restore.distributed.signals import ASKING, StopRequested

ASKED_EVERY = 10  # steps or images between decisions, with several GPUs


class GracefulStop(Checkpoint):
    """Stops a training, validation or test at the next point from which it can be resumed exactly.

    The signal handler only sets a flag, because collective calls inside a handler hang. After each batch the processes
    compare their flags (with several GPUs, where this makes the host wait, after every tenth step or image): the
    largest signal number counts, and all processes raise :class:`StopRequested` after the same batch. ``RunCheckpoint``
    then saves. A training batch counts once its optimiser step is finished. A validation is abandoned; the run that
    resumes repeats it. A second Ctrl-C ends the process at once.

    This is a Lightning ``Checkpoint`` callback, and the last in the list, so that it runs after all other callbacks
    have finished the batch. Its handlers are set when training or test starts, after Lightning's, which would save and
    communicate inside the handler; Lightning restores the earlier handlers when it ends.
    """

    def __init__(self) -> None:
        self.received = 0
        self._common: list[int] = []  # for each loader: number of batches that every process has

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's handlers."""
        self._listen(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's handlers, which it sets again for a test."""
        self._listen(trainer)
        self._common = _common_batches(trainer, trainer.num_test_batches)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the batches that all processes have; replace Lightning's handlers, which a separate validation sets."""
        self._listen(trainer)
        self._common = _common_batches(trainer, trainer.num_val_batches)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Decide after finished steps only: between accumulated batches a checkpoint would lose the gradients."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._ask(trainer, trainer.global_step)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Decide after each image, because a validation may take longer than the time between a signal and the kill."""
        if batch_idx < self._common[dataloader_idx]:
            self._ask(trainer, batch_idx)

    # during a test the training is already saved; the test is repeated
    on_test_batch_end = on_validation_batch_end

    def _listen(self, trainer: Trainer) -> None:
        if trainer.received_sigterm:  # received after Lightning set its handlers and before we set ours
            self.received = signal.SIGTERM
        if threading.current_thread() is threading.main_thread():
            for number in ASKING:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        if number == self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or number

    def _ask(self, trainer: Trainer, number: int) -> None:
        agreed = self.received
        if trainer.world_size > 1:
            if number % ASKED_EVERY and trainer.strategy.root_device.type != "cpu":
                return
            flag = torch.tensor(agreed, device=trainer.strategy.root_device)
            agreed = int(trainer.strategy.reduce(flag, reduce_op="max"))
        if agreed:
            raise StopRequested(agreed, is_common=True)


def _common_batches(trainer: Trainer, own: Any) -> list[int]:
    """For each loader, the number of batches that every process has; images are shared unevenly."""
    own = [0 if count == float("inf") else count for count in own]  # inf: this process has no image, see ShareSampler
    if trainer.world_size == 1:
        return list(own)
    counts = torch.tensor(own, device=trainer.strategy.root_device)
    return [int(count) for count in trainer.strategy.reduce(counts, reduce_op="min")]
