"""Makes the random numbers of a step a function of the seed and the step."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class SeedSteps(Callback):
    """Seeds torch before every batch with (seed, batch number), so a resumed run draws what an uninterrupted one does.

    Lightning's checkpoints contain no random state.
    """

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Combine the two numbers into one 64-bit seed."""
        torch.manual_seed((self.seed % 2**31) * 2**32 + batch_idx)
