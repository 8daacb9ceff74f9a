"""The training in zero-shot super-resolution: the only part of inference that needs Lightning.

Imported only when a zero-shot restorer begins to train.
"""

import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from restore.config.inference import ZeroShotTraining
from restore.config.log_filters import filter_lightning_logs
from restore.data.single_image import SingleImageData
from restore.models.zero_shot.model import ZeroShotSuperResolution
from restore.networks.contract import Progress


def untrained(
    scale: float, training: ZeroShotTraining, start: Mapping[str, Tensor] | None = None
) -> ZeroShotSuperResolution:
    """The model before its training on the image.

    Args:
        start: initial weights; None for random ones.
    """
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        model = ZeroShotSuperResolution(scale=scale, **training.model)
    if start is not None:
        model.network.init_from(start)
        model.steps.starts_trained, model.steps.start_share = True, training.start_share or 0.0
    return model


def train(
    model: ZeroShotSuperResolution,
    lq: Tensor,
    training: ZeroShotTraining,
    device: torch.device,
    *,
    use_bf16: bool,
    watch: "Watch",
    part: Tensor | None = None,
) -> None:
    """Train the model on one image.

    Args:
        lq: float, (3, H, W), [0, 1].
        part: the part of the image to enlarge, float (3, h, w); None for the whole image.
    """
    filter_lightning_logs()
    data = SingleImageData(image=lq.float(), scale=model.scale, seed=training.seed, **training.data)
    data.enlarged = data.image if part is None else part
    trainer = Trainer(
        accelerator=device.type,
        devices=1,
        precision="bf16-mixed" if use_bf16 else "32-true",
        max_steps=training.steps * len(model.network.factors),
        max_epochs=1,
        logger=False,
        callbacks=[watch],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        plugins=[LightningEnvironment()],  # each image is trained on by one process, also on a cluster
    )
    try:
        trainer.fit(model, datamodule=data)
    except SystemExit:  # raised by Lightning on a second Ctrl-C
        raise KeyboardInterrupt("Nothing was written for this image") from None


class Watch(Callback):
    """Reports the larger of the fractions of steps and time used, because either limit ends the training.

    Args:
        deadline: in seconds on the clock ``time.monotonic``.
    """

    def __init__(self, progress: Progress | None, deadline: float | None) -> None:
        self.progress, self.deadline, self.begun = progress, deadline, time.monotonic()
        self._sigterm = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the caller's signal handler; Lightning's would end the program without a result."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._sigterm)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the progress."""
        if self.progress is not None:
            assert isinstance(pl_module, ZeroShotSuperResolution)
            total = pl_module.steps.planned
            self.progress(max(trainer.global_step, int(self._share_of_time() * total)), total)

    def _share_of_time(self) -> float:
        if self.deadline is None:
            return 0.0
        return min(1.0, (time.monotonic() - self.begun) / max(self.deadline - self.begun, 1e-9))
