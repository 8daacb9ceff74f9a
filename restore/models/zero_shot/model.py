"""Zero-shot super-resolution: the network is trained on the image to enlarge."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from restore.data.single_image import SingleImageData
from restore.io.errors import SettingError
from restore.losses import pixel
from restore.models.base import RestorationModel
from restore.models.settings import arguments_as_settings
from restore.models.zero_shot.kernel_estimation import estimate_kernel
from restore.models.zero_shot.lr_policy import LRPolicy
from restore.models.zero_shot.network import ZeroShotNetwork
from restore.models.zero_shot.plan import CHECK_EVERY
from restore.models.zero_shot.scale_steps import ScaleSteps
from restore.models.zero_shot.settings import TrainingSettings
from restore.ops import blur_kernels

log = logging.getLogger(__name__)


class ZeroShotSuperResolution(RestorationModel):
    """Enlarges one image with a network trained on that image alone.

    Shocher, Cohen, Irani, "Zero-Shot Super-Resolution using Deep Internal Learning", CVPR 2018. The scale is reached in
    gradual steps of about two, each with its own network, which starts from the previous one. Each result is added to
    the fathers on which the next network trains (:class:`ScaleSteps`). Trained with L1 and Adam on crops of the image's
    pyramid (:class:`restore.data.single_image.SingleImageData`).

    Args:
        scale, scale_steps, in_channels, width, depth, kernel_size, information_gain: see :class:`ZeroShotNetwork`.
        lr, lr_decay, lr_decay_ratio, lr_decay_range, lr_decay_step, lr_stop, anneal: see :class:`LRPolicy`.
        back_projection: number of rounds on each result, see :class:`ZeroShotNetwork`; null: 8, or 0 if the data
            declare the image noisy.
        kernel: how the image was downscaled: null for bicubic, a ``.npy`` or ``.mat`` file, a matrix, or ``estimate``
            from the image (:mod:`restore.models.zero_shot.kernel_estimation`). With a kernel, which also makes the
            sons, there is a single scale step, by an integer.
        kernel_steps: see :class:`TrainingSettings`.

    Raises:
        ValueError: another value.
    """

    method = "zero_shot"
    data_kind = "single_image"
    max_processes = 1
    period = CHECK_EVERY  # see Staged
    is_averaged = False  # the weights with the smallest reconstruction error are kept instead
    training_settings = (
        "lr",
        "lr_decay",
        "lr_decay_ratio",
        "lr_decay_range",
        "lr_decay_step",
        "lr_stop",
        "anneal",
        "back_projection",
        "kernel",
        "kernel_steps",
    )
    network: ZeroShotNetwork

    def __init__(
        self,
        *,
        scale: float = 2.0,
        scale_steps: list[float] | None = None,
        in_channels: int = 3,
        width: int = 64,
        depth: int = 8,
        kernel_size: int = 3,
        lr: float = LRPolicy.lr,
        lr_decay: float = LRPolicy.lr_decay,
        lr_decay_ratio: float = LRPolicy.lr_decay_ratio,
        lr_decay_range: int = LRPolicy.lr_decay_range,
        lr_decay_step: int = LRPolicy.lr_decay_step,
        lr_stop: float = LRPolicy.lr_stop,
        anneal: float = LRPolicy.anneal,
        back_projection: int | None = None,
        kernel: str | list[list[float]] | None = None,
        information_gain: Mapping[str, Any] | None = None,
        kernel_steps: int = TrainingSettings.kernel_steps,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        settings = TrainingSettings(
            lr=lr,
            lr_decay=lr_decay,
            lr_decay_ratio=lr_decay_ratio,
            lr_decay_range=lr_decay_range,
            lr_decay_step=lr_decay_step,
            lr_stop=lr_stop,
            anneal=anneal,
            kernel_steps=kernel_steps,
        )
        with arguments_as_settings():
            self.network = ZeroShotNetwork(
                scale=scale,
                scale_steps=scale_steps,
                in_channels=in_channels,
                width=width,
                depth=depth,
                kernel_size=kernel_size,
                back_projection=back_projection,
                kernel=kernel,
                information_gain=information_gain,
            )
        self.steps = ScaleSteps(self.network, settings)

    def shorten_stages(self) -> None:
        """Do nothing: scale steps are already equally long."""

    def stage_lengths(self, max_steps: int) -> dict[str, int]:
        """Maximum lengths; a scale step ends sooner if the learning rate has reached ``lr_stop``."""
        count = len(self.network.factors)
        return {f"scale step {k + 1}": max(1, max_steps // count) for k in range(count)}

    def look_at(self, image: Tensor, *, is_noisy: bool) -> None:
        """Set what depends on the image to train on: rounds of back-projection, and the kernel.

        Args:
            image: float, (C, H, W), [0, 1]. is_noisy: whether noise is added to its sons.

        Raises:
            ValueError: the image is too small or has no detail.
        """
        if self.hparams["back_projection"] is None:
            self.network.rounds = 0 if is_noisy else 8
        if self.hparams["kernel"] == "estimate" and self.network.kernel is None:
            kernel = estimate_kernel(image, round(self.scale), steps=self.hparams["kernel_steps"], seed=0)
            log.info("the kernel's standard deviations are %.2f and %.2f px", *blur_kernels.widths(kernel))
            self.network.kernel = kernel

    # --- training ---

    def on_fit_start(self) -> None:
        """Adapt the network to the image, and the data to the network."""
        data = self.datamodule
        assert isinstance(data, SingleImageData)
        self.look_at(data.image, is_noisy=data.noise > 0)
        data.shrink_whole, self.steps.data = self.network.shrink, data

    def configure_callbacks(self) -> list[Callback]:
        """Add ``ScaleSteps``, which acts between steps, before the checkpoint of the step."""
        return [self.steps]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Compute the loss of one batch of the present scale step.

        Args:
            batch: ``lq`` and ``gt`` (N, 3, h, w), [0, 1], see :class:`SingleImageData`.

        Returns:
            The L1 loss, ().
        """
        lq = batch["lq"].contiguous(memory_format=torch.channels_last)
        loss = pixel.l1(self.network.steps[self.steps.stage](lq), batch["gt"])
        self.log_training(loss)
        return loss

    def end_early(self) -> None:
        """Copy the present network to the remaining scale steps."""
        self.steps.halt = True

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam; networks of later scale steps get no gradient yet, so their moments begin with their scale step."""
        return torch.optim.Adam(self.network.parameters(), self.hparams["lr"])

    def on_validation_epoch_end(self) -> None:
        """Make the latest weights the best, because they include the best ones of every scale step so far."""
        self.best = float("-inf")
        super().on_validation_epoch_end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of the scale steps."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["scale_steps"] = self.steps.state()
        checkpoint["restore"]["arguments"]["back_projection"] = self.network.rounds
        if self.network.kernel is not None:  # store the matrix, because the file may no longer exist later
            checkpoint["restore"]["arguments"]["kernel"] = self.network.kernel.tolist()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state of the scale steps."""
        super().on_load_checkpoint(checkpoint)
        if "scale_steps" not in checkpoint:
            expected = "a checkpoint of a training on one image, but this one was trained on photos"
            raise SettingError("resume", "a start", expected, "use init_from to start from its weights")
        self.steps.load(checkpoint["scale_steps"])
        stored = checkpoint["restore"]["arguments"]["kernel"]
        if self.hparams["kernel"] == "estimate" and isinstance(stored, list):
            self.network.kernel = torch.tensor(stored, dtype=torch.float64)
