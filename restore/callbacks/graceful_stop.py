"""Signals that ask a run to end: it saves at the end of the step, on all processes alike, and goes."""

import signal
import threading
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

ASKED_EVERY = 10  # on GPUs
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(BaseException):
    """The run was asked to end, and all its processes agreed on it.

    Args:
        number: of the signal, the largest that any process got.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interruption(Checkpoint):
    """Ends a training, validation or test at the next moment from which it can be resumed exactly.

    A handler only sets a flag; collective calls inside one hang. After each batch (with several GPUs, where the answer
    makes the host wait, each tenth step or picture) the processes agree on the flags (the largest signal number
    counts), and all raise :class:`Interrupted` at the same place; ``RunCheckpoint`` then
    saves. A training batch counts when its optimiser step is finished. A validation is abandoned, and done anew by the
    run that goes on. A second Ctrl-C ends at once.

    It is of Lightning's class ``Checkpoint`` and stands last in the list, so that it comes when all other callbacks
    are done with the batch. Handlers are set when training or test starts, after Lightning's, which would save and
    agree inside the handler; Lightning puts those from before back when it ends.
    """

    def __init__(self) -> None:
        self.received = 0
        self._common: list[int] = []  # batches that every process has, of each loader of an evaluation

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over from Lightning's handlers."""
        self._listen(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """As above, for a test is a run of its own to Lightning."""
        self._listen(trainer)
        self._common = _common_batches(trainer, trainer.num_test_batches)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out how often all processes can be asked."""
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
        """A validation may be long, and the time between a signal and the kill is not."""
        if batch_idx < self._common[dataloader_idx]:
            self._ask(trainer, batch_idx)

    # the training is over and saved; the test is done anew
    on_test_batch_end = on_validation_batch_end

    def _listen(self, trainer: Trainer) -> None:
        if trainer.received_sigterm:  # between Lightning's start and ours
            self.received = signal.SIGTERM
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
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
            raise Interrupted(agreed)


def _common_batches(trainer: Trainer, own: Any) -> list[int]:
    """Of each loader, the number of batches that no process has fewer of; they share the pictures unevenly."""
    own = [0 if count == float("inf") else count for count in own]  # some process has none, see ShareSampler
    if trainer.world_size == 1:
        return list(own)
    counts = torch.tensor(own, device=trainer.strategy.root_device)
    return [int(count) for count in trainer.strategy.reduce(counts, reduce_op="min")]
