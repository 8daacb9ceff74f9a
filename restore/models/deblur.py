"""Motion deblurring with the attention network."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from restore import losses
from restore.models.base import RestorationModel
from restore.networks.attention_unet import Attention, AttentionUNet

Loss = Literal["mse_gradient", "charbonnier", "l1"]
Schedule = Literal["polynomial", "cosine"]

LOSSES = {"mse_gradient": losses.mse_gradient, "charbonnier": losses.charbonnier, "l1": losses.l1}


class Deblur(RestorationModel):
    """Takes motion blur (or defocus) from a photo with the attention network.

    Xu, Zhu, Quan, Ji, "Attentive deep network for blind motion deblurring on dynamic scenes", CVIU 205, 2021.

    Args:
        width, modules, attention, squeeze, global_residual: see :class:`AttentionUNet`.
        loss: ``mse_gradient`` (the authors'), ``charbonnier`` or ``l1``.
        frequency_weight: of the spectrum's L1 on top, 0 as published, 0.1 to try.
        lr, betas, weight_decay: of AdamW; published 1e-4, (0.9, 0.999) and 0, which makes it Adam.
        schedule: ``cosine`` (the modern recipe, with weight decay) falls to zero at the last step, ``polynomial``
            (as published, with Adam) too, as (1 - step / last) to the power 0.3.
        warmup_steps: the learning rate rises linearly over so many steps.
        scale: 1; deblurring keeps the size.
        compile: compile the network in place (``torch.compile``); pays on long GPU runs.

    Raises:
        ValueError: for a value the network, the loss or the schedule does not take.
    """

    method = "deblur"
    protocol = "deblur_rgb"
    monitor = "psnr_rgb"
    multiple_of = AttentionUNet.multiple_of
    training_settings = (
        "loss",
        "frequency_weight",
        "lr",
        "betas",
        "weight_decay",
        "schedule",
        "warmup_steps",
        "compile",
    )
    network: AttentionUNet

    def __init__(
        self,
        *,
        scale: int = 1,
        width: int = 32,
        modules: int = 3,
        attention: Attention = "spatial",
        squeeze: int = 16,
        global_residual: bool = True,
        loss: Loss = "charbonnier",
        frequency_weight: float = 0.0,
        lr: float = 3e-4,
        betas: list[float] | tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 1e-4,
        schedule: Schedule = "cosine",
        warmup_steps: int = 0,
        compile: bool = False,
    ) -> None:
        super().__init__()
        _check_network(scale, loss, frequency_weight)
        _check_training(lr, betas, weight_decay, schedule, warmup_steps)
        self.save_hyperparameters(logger=False)
        self.scale = scale
        network = AttentionUNet(
            width=width, modules=modules, attention=attention, squeeze=squeeze, global_residual=global_residual
        )
        self.network = network.to(memory_format=torch.channels_last)
        self.halo = network.halo
        # 4 bytes and a margin for what convolutions and the allocator keep: `restore benchmark what=[memory]`
        self.bytes_per_pixel = math.ceil(4 * 1.15 * network.floats_per_pixel)

    def setup(self, stage: str) -> None:
        """Compile in place, so that the checkpoint's names stay as they are."""
        if stage == "fit" and self.hparams["compile"]:
            self.network.compile()

    def pool_locally(self, window: int) -> None:
        """Refused also where channels are weighted by such means, which only the whole image gives."""
        if self.halo is None:
            raise ValueError(
                f"pool_window is {window}, but model.attention=channel_spatial takes its means over the whole image "
                "only; leave it out"
            )
        super().pool_locally(window)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """One batch: ``lq`` and ``gt`` (N, 3, h, w), float in [0, 1], sides multiples of 4."""
        pred, gt = self(batch["lq"]), batch["gt"]
        name = self.hparams["loss"]
        terms = {name: LOSSES[name](pred, gt)}
        loss = terms[name]
        weight = self.hparams["frequency_weight"]
        if weight:
            terms["frequency"] = losses.frequency_l1(pred, gt)
            loss = loss + weight * terms["frequency"]
        self.log_training(loss, terms)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, its learning rate a function of the step alone."""
        beta1, beta2 = self.hparams["betas"]
        optimizer = torch.optim.AdamW(
            self.network.parameters(), self.hparams["lr"], (beta1, beta2), weight_decay=self.hparams["weight_decay"]
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._lr_factor())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The optimiser's settings are this run's, also where it starts from another run's checkpoint."""
        super().on_load_checkpoint(checkpoint)
        lr, factor = self.hparams["lr"], self._lr_factor()(checkpoint["global_step"])
        settings = {"betas": tuple(self.hparams["betas"]), "weight_decay": self.hparams["weight_decay"]}
        for group in checkpoint["optimizer_states"][0]["param_groups"]:
            group.update(lr=lr * factor, initial_lr=lr, **settings)
        checkpoint["lr_schedulers"][0]["base_lrs"] = [lr]

    def _lr_factor(self) -> Callable[[int], float]:
        warmup, cosine = self.hparams["warmup_steps"], self.hparams["schedule"] == "cosine"
        last = self.trainer.max_steps  # never estimated_stepping_batches, see SuperResolution

        def factor(step: int) -> float:
            rise, left = min(1.0, (step + 1) / (warmup + 1)), 1 - min(step / last, 1)
            fall = (1 - math.cos(math.pi * left)) / 2 if cosine else left**0.3
            return float(rise * fall)

        return factor


def _check_network(scale: int, loss: str, frequency_weight: float) -> None:
    if scale != 1:
        raise ValueError(f"model.scale is {scale}, expected 1: deblurring keeps the size; leave it out")
    if loss not in LOSSES:
        raise ValueError(f"model.loss is {loss}, expected {', '.join(LOSSES)}")
    if not 0 <= frequency_weight < float("inf"):
        raise ValueError(f"model.frequency_weight is {frequency_weight}, expected a number, at least 0")


def _check_training(
    lr: float, betas: list[float] | tuple[float, float], weight_decay: float, schedule: str, warmup_steps: int
) -> None:
    if not 0 < lr < float("inf"):
        raise ValueError(f"model.lr is {lr}, expected a number above 0")
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"model.betas is {list(betas)}, expected two numbers, at least 0 and below 1")
    if not 0 <= weight_decay < float("inf"):
        raise ValueError(f"model.weight_decay is {weight_decay}, expected a number, at least 0")
    if schedule not in ("polynomial", "cosine"):
        raise ValueError(f"model.schedule is {schedule}, expected polynomial or cosine")
    if warmup_steps < 0:
        raise ValueError(f"model.warmup_steps is {warmup_steps}, expected at least 0 steps")
