"""Restores with zero-shot super-resolution: a network trained on the very picture, or one that was."""

import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from restore.config.inference import Adaptation, Inference
from restore.config.log_filters import quieten
from restore.data.single_image import SingleImageData
from restore.inference.restorer import Bicubic, Progress, Restorer, pick_device
from restore.models.zero_shot.model import ZeroShotSuperResolution
from restore.ops import tiling
from restore.ops.resize import new_length

log = logging.getLogger(__name__)

BICUBIC = "bicubic used"  # the note on where it was, in words, because it is read in tables and on the page

SMALLEST = 3  # lq pixels; a smaller picture holds nothing to learn from
BYTES_PER_PIXEL = 110  # of the result, where bicubic has to make it: it works on the whole, in double precision


class AdaptedRestorer(Restorer):
    """Enlarges with networks that were trained on one picture: scale steps, ensemble median, back-projection.

    Args:
        name: for tables and file names.
        model: after its training.
        inference: how to run it; ``tile`` is in lq pixels.
    """

    def __init__(self, name: str, model: ZeroShotSuperResolution, inference: Inference) -> None:
        self.name, self.inference = name, inference
        self.device = pick_device(inference.device)
        self.model = model.eval().to(self.device)
        self.scale, self.in_channels, self.halo = model.scale, model.in_channels, model.halo
        self.ensemble = inference.ensemble(default=True) and model.steps.has_time_for_ensemble

    def _restore(self, lq: Tensor, report: Progress) -> Tensor:
        self.phase = "enlarging"
        use_bf16 = self.inference.precision == "bf16"
        batch = lq[None].to(self.device, torch.float32)
        seen, steps = 0, len(self.model.factors)

        def run(network: tiling.Forward, enlarged: Tensor) -> Tensor:
            nonlocal seen
            seen += 1
            with torch.autocast(self.device.type, torch.bfloat16, enabled=use_bf16):
                return self.model.run(
                    network,
                    enlarged,
                    tile=tile_of(self.model, self.inference, (enlarged.shape[-2], enlarged.shape[-1])),
                    report=lambda done, total: report((seen - 1) * total + done, steps * total),
                ).float()

        with torch.inference_mode():
            pred = self.model.enlarge(batch, run=run, ensemble=self.ensemble)[0]
        return pred.to("cpu", torch.float32)


def tile_of(model: ZeroShotSuperResolution, inference: Inference, size: tuple[int, int]) -> int | None:
    """The tile for an enlarged image of (height, width), in its pixels; None for the whole.

    Raises:
        ValueError: ``memory_gb`` holds none.
    """
    choice = str(inference.tile)
    if choice == "none":
        return None
    if choice != "auto":
        return max(1, round(int(choice) * model.scale))
    return model.tile_within(size, inference.memory_gb)


class ZeroShotRestorer(Restorer):
    """Trains on each picture it is given, then enlarges it. Cancelled or late, it gives the best it has so far.

    Args:
        scale: above 1, whole or not.
        inference: how to run the network. adaptation: how to train it.

    Attributes:
        notes: what a result file should say about the picture last restored.
    """

    name = "zero_shot"

    def __init__(self, scale: float, inference: Inference, adaptation: Adaptation) -> None:
        self.scale, self.inference, self.adaptation = scale, inference, adaptation
        self.device = pick_device(inference.device)
        self.ensemble = inference.ensemble(default=True)
        model = self._model()  # so that bad settings are named before the first picture
        SingleImageData(image=torch.zeros(3, 8, 8), **adaptation.data)
        self.halo = model.halo

    def _model(self) -> ZeroShotSuperResolution:
        with torch.random.fork_rng():
            torch.manual_seed(self.adaptation.seed)
            return ZeroShotSuperResolution(scale=self.scale, **self.adaptation.model)

    def restore(
        self,
        lq: Tensor,
        *,
        progress: Progress | None = None,
        deadline: float | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Tensor:
        """As :meth:`Restorer.restore`, but who stops it gets the best so far.

        Raises:
            ValueError: ``memory_gb`` does not hold the result, which is kept whole, or no tile.
        """
        self.notes = {}
        if min(lq.shape[1:]) < SMALLEST:
            log.warning("a picture of %dx%d px is too small to learn from; bicubic is used", *lq.shape[1:])
            self.notes = {BICUBIC: "throughout, the picture is too small to learn from"}
            return Bicubic(self.scale).restore(lq)
        if self.adaptation.max_seconds is not None:
            deadline = min(deadline or float("inf"), time.monotonic() + self.adaptation.max_seconds)
        model = self._train(lq, progress, deadline, cancel)
        if not model.steps.has_time:
            self.notes = {BICUBIC: "throughout, no time was left to enlarge"}
            return Bicubic(self.scale).restore(lq)
        if model.steps.fell_back:
            steps = ", ".join(map(str, model.steps.fell_back))
            self.notes = {BICUBIC: f"in scale step {steps}, where training did not clearly beat it"}
        if len(model.steps.fell_back) == len(model.steps.records):
            return Bicubic(self.scale).restore(lq)
        adapted = AdaptedRestorer(self.name, model, self.inference)
        if model.steps.halt:
            adapted.ensemble = False
        self.phase = adapted.phase = "enlarging"
        return adapted.restore(lq, progress=progress)

    def _refuse_too_large(self, height: int, width: int) -> None:
        needed = height * width * BYTES_PER_PIXEL / 2**30
        if needed > self.inference.memory_gb:
            raise ValueError(
                f"memory_gb is {self.inference.memory_gb:g}, but zero-shot holds its result of {width}x{height} px "
                f"whole, which needs about {needed:.1f}; set memory_gb={needed + 0.05:.1f} if the machine has as much, "
                "or shrink the picture"
            )

    def _train(
        self,
        lq: Tensor,
        progress: Progress | None,
        deadline: float | None,
        cancel: Callable[[], bool] | None,
    ) -> ZeroShotSuperResolution:
        self.phase = "training"
        quieten()
        model = self._model()
        model.steps.deadline, model.steps.cancel = deadline, cancel
        model.steps.tile = lambda size: tile_of(model, self.inference, size)
        # before the training, because it may be refused
        size = new_length(lq.shape[1], self.scale), new_length(lq.shape[2], self.scale)
        model.steps.tile(size)
        self._refuse_too_large(*size)
        data = SingleImageData(image=lq.float(), scale=self.scale, seed=self.adaptation.seed, **self.adaptation.data)
        trainer = Trainer(
            accelerator=self.device.type,
            devices=1,
            precision="bf16-mixed" if self.inference.precision == "bf16" else "32-true",
            max_steps=self.adaptation.max_steps * len(model.factors),
            max_epochs=1,
            logger=False,
            callbacks=[_Watch(progress, deadline)],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            use_distributed_sampler=False,
            plugins=[LightningEnvironment()],  # one picture is one process's, on a cluster too
        )
        try:
            trainer.fit(model, datamodule=data)
        except SystemExit:  # Lightning's answer to a second Ctrl-C
            raise KeyboardInterrupt("Nothing was written for this picture") from None
        return model

    def _restore(self, lq: Tensor, report: Progress) -> Tensor:
        return self.restore(lq, progress=report)


class _Watch(Callback):
    """Reports the steps, or the share of the time where that is the larger: what is used up first ends the training.

    Args:
        deadline: on the clock ``time.monotonic``.
    """

    def __init__(self, progress: Progress | None, deadline: float | None) -> None:
        self.progress, self.deadline, self.begun = progress, deadline, time.monotonic()
        self._sigterm = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the caller's handler back: Lightning's would end the program without a result."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._sigterm)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The bar of steps."""
        if self.progress is not None:
            total = int(trainer.max_steps)
            self.progress(max(trainer.global_step, int(self._share_of_time() * total)), total)

    def _share_of_time(self) -> float:
        if self.deadline is None:
            return 0.0
        return min(1.0, (time.monotonic() - self.begun) / max(self.deadline - self.begun, 1e-9))
