"""Motion deblurring with the attention network."""

import math
from typing import Any, Literal, get_args

import torch

from restore.io.errors import SettingError
from restore.losses import pixel
from restore.models import optimization
from restore.models.optimization import LRFactor
from restore.models.pixel_loss_model import PixelLoss, PixelLossModel
from restore.models.settings import arguments_as_settings
from restore.networks.attention_unet import Attention, AttentionUNet

Loss = Literal["mse_gradient", "charbonnier", "l1", "log_mse"]
Schedule = Literal["polynomial", "cosine"]

LOSSES = {
    "mse_gradient": pixel.mse_gradient,
    "charbonnier": pixel.charbonnier,
    "l1": pixel.l1,
    "log_mse": pixel.log_mse,
}


class Deblur(PixelLossModel):
    """Removes motion blur (or defocus) from photos with the attention network.

    Xu, Zhu, Quan, Ji, "Attentive deep network for blind motion deblurring on dynamic scenes", CVIU 205, 2021.

    Args:
        width, modules, attention, squeeze, strength, global_residual: see :class:`AttentionUNet`.
        loss: ``mse_gradient`` (the authors'), ``charbonnier``, ``l1`` or ``log_mse``.
        frequency_weight: weight of the additional L1 loss between spectra; 0 as published, try 0.1.
        lr, betas, weight_decay: of AdamW; published 1e-4, (0.9, 0.999) and 0 (which makes it Adam).
        schedule: ``cosine`` (the modern recipe, with weight decay) or ``polynomial`` (as published, with Adam), which
            is (1 - step / last) to the power 0.3; both fall to zero at the last step.
        warmup_steps: number of steps over which the learning rate rises linearly.
        scale: 1; deblurring keeps the image size.
        compile: compile the network in place (``torch.compile``); worthwhile for long GPU runs.

    Raises:
        ValueError: a value that the network, the loss or the schedule does not accept.
    """

    method = "deblur"
    optimizer = torch.optim.AdamW
    monitor = "psnr_rgb"
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
        strength: bool = False,
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
        _check_choices(scale, loss, schedule)
        optimization.check_adam(lr=lr, betas=betas, weight_decay=weight_decay)
        optimization.check_weight("frequency_weight", frequency_weight)
        optimization.check_steps("warmup_steps", warmup_steps, least=0)
        self.save_hyperparameters(logger=False)
        with arguments_as_settings():
            self.network = AttentionUNet(
                width=width,
                modules=modules,
                attention=attention,
                squeeze=squeeze,
                strength=strength,
                global_residual=global_residual,
            )

    def _pixel_loss(self) -> tuple[str, PixelLoss]:
        name = self.hparams["loss"]
        return name, LOSSES[name]

    def _optimizer_settings(self) -> dict[str, Any]:
        return super()._optimizer_settings() | {"weight_decay": self.hparams["weight_decay"]}

    def _lr_factor(self) -> LRFactor:
        last = self.trainer.max_steps  # not estimated_stepping_batches, see SuperResolution

        def left(step: int) -> float:
            return 1 - min(step / last, 1)

        def cosine(step: int) -> float:
            return (1 - math.cos(math.pi * left(step))) / 2

        def polynomial(step: int) -> float:
            return float(left(step) ** 0.3)

        schedule = cosine if self.hparams["schedule"] == "cosine" else polynomial
        return optimization.warmed_up(schedule, self.hparams["warmup_steps"])


def _check_choices(scale: int, loss: str, schedule: str) -> None:
    if scale != 1:
        raise SettingError("model.scale", scale, "1, because deblurring keeps the size", "leave it out")
    if loss not in LOSSES:
        raise SettingError("model.loss", loss, ", ".join(LOSSES))
    if schedule not in get_args(Schedule):
        raise SettingError("model.schedule", schedule, " or ".join(get_args(Schedule)))
