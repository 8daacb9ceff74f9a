"""Trains initial weights for zero-shot super-resolution: its own network, trained on photos beforehand."""

from typing import Any

import torch
from torch import Tensor

from restore.io.errors import SettingError
from restore.losses import pixel
from restore.models import optimization
from restore.models.optimization import LRFactor
from restore.models.pixel_loss_model import PixelLoss, PixelLossModel
from restore.models.settings import arguments_as_settings
from restore.models.zero_shot.network import ZeroShotNetwork


class ZeroShotStart(PixelLossModel):
    """Trains the network of one scale step on photos, for all factors by which the data are interpolated.

    This is the idea of Soh, Cho, Cho, "Meta-Transfer Learning for Zero-Shot Super-Resolution", CVPR 2020, without
    meta-learning. The network's input is an interpolated image, whose size it keeps, so the scale is 1 and one network
    learns all factors: see :class:`restore.degradations.basic.InterpolatedLowResolution`. Its checkpoint is that of a
    zero-shot model which enlarges by two in one scale step.

    Args:
        scale: 1.
        width, depth, kernel_size: see :class:`restore.networks.zssr.ZSSRNetwork`.
        lr, betas: of Adam; the learning rate falls to zero along a cosine.
        warmup_steps: number of steps over which the learning rate rises linearly.
        frequency_weight: weight of the additional L1 loss between spectra.
        compile: compile the network in place (``torch.compile``).

    Raises:
        ValueError: a value that the network or the schedule does not accept.
    """

    method = "zero_shot"
    optimizer = torch.optim.Adam
    training_settings = ("lr", "betas", "warmup_steps", "frequency_weight", "compile")
    network: ZeroShotNetwork

    def __init__(
        self,
        *,
        scale: int = 1,
        width: int = 64,
        depth: int = 8,
        kernel_size: int = 3,
        lr: float = 1e-3,
        betas: list[float] | tuple[float, float] = (0.9, 0.999),
        warmup_steps: int = 100,
        frequency_weight: float = 0.0,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if scale != 1:
            expected = "1, because the network reads images that are enlarged already"
            raise SettingError("model.scale", scale, expected, "leave it out")
        optimization.check_adam(lr=lr, betas=betas)
        optimization.check_weight("frequency_weight", frequency_weight)
        optimization.check_steps("warmup_steps", warmup_steps, least=0)
        self.save_hyperparameters(ignore=["scale"], logger=False)
        with arguments_as_settings():
            self.network = ZeroShotNetwork(width=width, depth=depth, kernel_size=kernel_size)

    @property
    def scale(self) -> float:
        """Output side / input side, in training and validation."""
        return 1

    @property
    def halo(self) -> int | None:
        """Receptive radius, in pixels of the interpolated image."""
        return self.network.radius

    @property
    def bytes_per_pixel(self) -> int:
        """Peak memory of an inference in float32, per pixel of the interpolated image."""
        return self.network.bytes_per_enlarged_pixel

    def forward(self, lq: Tensor) -> Tensor:
        """Interpolated (N, 3, H, W) -> (N, 3, H, W), not clamped."""
        pred: Tensor = self.network.steps[0](lq.contiguous(memory_format=torch.channels_last))
        return pred

    def restore_whole(self, lq: Tensor) -> Tensor:
        """Same as ``forward``, which accepts any size."""
        return self.forward(lq)

    def _pixel_loss(self) -> tuple[str, PixelLoss]:
        return "l1", pixel.l1

    def _lr_factor(self) -> LRFactor:
        # not estimated_stepping_batches, see SuperResolution
        return optimization.warmed_up(optimization.cosine(self.trainer.max_steps), self.hparams["warmup_steps"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what is needed to rebuild the network; the training settings are in the run's configuration."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["restore"]["arguments"] = {name: self.hparams[name] for name in ("width", "depth", "kernel_size")}
