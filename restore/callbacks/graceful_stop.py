"""Stops a run on a signal: after the current step, on all processes alike, with a checkpoint."""

import signal
import threading
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from restore.distributed.signals import ASKING, StopRequested

ASKED_EVERY = 10  # steps or images, on GPUs


class GracefulStop(Checkpoint):
    """Stops a training, validation or test at the next moment from which it can be resumed exactly.

    The signal handler only sets a flag, because collective calls inside a handler hang. After each batch (on several
    GPUs, where the answer makes the host wait, after each tenth step or image) the processes agree on the flags: the
    largest signal number counts, and all raise :class:`StopRequested` after the same batch. ``RunCheckpoint`` then
    saves. A training batch counts when its optimiser step is finished. A validation is abandoned, and repeated by the
    run that resumes. A second Ctrl-C ends at once.

    It is one of Lightning's ``Checkpoint`` callbacks and the last in the list, so that it runs when all other callbacks
    have finished the batch. Handlers are set when training or test starts, after Lightning's, which would save and
    agree inside the handler; Lightning restores the earlier handlers when it ends.
    """

    def __init__(self) -> None:
        self.received = 0
        self._common: list[int] = []  # of each loader: batches that every process has

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's handlers."""
        self._listen(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """As above: for Lightning a test is a run of its own."""
        self._listen(trainer)
        self._common = _common_batches(trainer, trainer.num_test_batches)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out after which batches all processes can agree; one that is made up for is a run of its own."""
        self._listen(trainer)
        self._common = _common_batches(trainer, trainer.num_val_batches)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Between two accumulated batches a checkpoint would lose the gradients so far."""
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
        """A validation may take longer than the time between a signal and the kill."""
        if batch_idx < self._common[dataloader_idx]:
            self._ask(trainer, batch_idx)

    # the training is over and saved; the test is repeated
    on_test_batch_end = on_validation_batch_end

    def _listen(self, trainer: Trainer) -> None:
        if trainer.received_sigterm:  # after Lightning set its handlers and before we set ours
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
    """Of each loader, the number of batches that every process has; images are shared unevenly."""
    own = [0 if count == float("inf") else count for count in own]  # this process has none, see ShareSampler
    if trainer.world_size == 1:
        return list(own)
    counts = torch.tensor(own, device=trainer.strategy.root_device)
    return [int(count) for count in trainer.strategy.reduce(counts, reduce_op="min")]
