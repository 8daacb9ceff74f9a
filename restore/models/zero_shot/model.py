"""Zero-shot super-resolution: an image trains its own network."""

import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from restore.losses import pixel
from restore.models.base import RestorationModel
from restore.models.zero_shot.kernel_estimation import check_scale, estimate_kernel
from restore.models.zero_shot.scale_steps import ERROR_EVERY, ScaleSteps
from restore.models.zero_shot.settings import check_settings, scale_factors
from restore.networks.zssr import ZSSRNetwork, ZSSRStages
from restore.ops import blur_kernels, tiling
from restore.ops.blur_kernels import read_kernel
from restore.ops.resize import new_length, resize

log = logging.getLogger(__name__)

Run = Callable[[tiling.Forward, Tensor], Tensor]
Progress = Callable[[int, int], None]


class ZeroShotSuperResolution(RestorationModel):
    """Enlarges one image with a network trained on that image alone.

    Shocher, Cohen, Irani, "Zero-Shot Super-Resolution using Deep Internal Learning", CVPR 2018. The scale is reached
    in steps of about two; each has a network that starts from the one before, and each result joins the fathers that
    the next one trains on (:class:`ScaleSteps`). Trained with L1 and Adam on crops of the image's pyramid
    (:class:`restore.data.single_image.SingleImageData`).

    Args:
        scale: output side / input side, above 1, whole or not.
        scale_steps: factors whose product is ``scale``; null: t equal ones, t = max(1, round(log2 scale)).
        in_channels, width, depth, kernel_size: see :class:`ZSSRNetwork`.
        lr: of Adam, at the start of every scale step.
        lr_decay: the learning rate is multiplied by this when the reconstruction error has flattened.
        lr_decay_ratio: flattened means -ratio * slope < standard error of the slope.
        lr_decay_range: the slope is fitted to the errors of the last so many steps.
        lr_decay_step: steps between two such looks.
        lr_stop: a scale step ends when the learning rate has fallen to this.
        anneal: share of a scale step's budget, at its end, over which the learning rate falls linearly to zero.
        back_projection: rounds of iterative back-projection on each result (Irani and Peleg, CVGIP 53(3), 1991), as
            long as they help; null: 8, or 0 when the data say that the picture is noisy.
        kernel: how the picture was shrunk: null for bicubic, a ``.npy`` or ``.mat`` file or the matrix itself, or
            ``estimate``, from the picture (:mod:`restore.models.zero_shot.kernel_estimation`). Sons are then made with
            it, in one scale step of a whole number.
        kernel_steps: updates of KernelGAN's generator behind ``estimate``; 0 leaves the kernel at the Gaussian that the
            picture's spectrum speaks for.

    Raises:
        ValueError: for a value outside these.
    """

    method = "zero_shot"
    protocol = "sr_y"
    period = ERROR_EVERY
    is_averaged = False  # it keeps the weights of the least reconstruction error
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
    network: ZSSRStages
    scale: float  # type: ignore[assignment]

    def __init__(
        self,
        *,
        scale: float = 2.0,
        scale_steps: list[float] | None = None,
        in_channels: int = 3,
        width: int = 64,
        depth: int = 8,
        kernel_size: int = 3,
        lr: float = 1e-3,
        lr_decay: float = 0.1,
        lr_decay_ratio: float = 1.5,
        lr_decay_range: int = 256,
        lr_decay_step: int = 60,
        lr_stop: float = 1e-6,
        anneal: float = 0.2,
        back_projection: int | None = None,
        kernel: str | list[list[float]] | None = None,
        kernel_steps: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        check_settings(self.hparams)
        self.scale, self.in_channels = scale, in_channels
        self.factors = scale_factors(scale, scale_steps, has_kernel=kernel is not None)
        self.rounds = 8 if back_projection is None else back_projection
        self.kernel = _given_kernel(kernel, scale)
        settings = {"channels": in_channels, "width": width, "depth": depth, "kernel_size": kernel_size}
        self.network = ZSSRStages([ZSSRNetwork(**settings) for _ in self.factors])
        self.network.to(memory_format=torch.channels_last)
        self.network.hand_on(0)
        self.radius = self.network.steps[0].radius
        self.halo = _halo(self.factors, self.radius)
        # hidden maps, and the 8 answers of the ensemble
        self.bytes_per_enlarged_pixel = math.ceil(4 * 1.15 * (3 * width + 24 * in_channels))
        self.bytes_per_pixel = math.ceil(self.bytes_per_enlarged_pixel * scale**2)
        self.steps = ScaleSteps(self)

    def stage_lengths(self, max_steps: int) -> dict[str, int]:
        """At most; a scale step ends sooner where the learning rate has run down."""
        share = max(1, max_steps // len(self.factors))
        return {f"scale step {k + 1}": share for k in range(len(self.factors))}

    # --- enlarging ---

    def forward(self, lq: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, scale H, scale W) rounded up; clamped between the scale steps only."""
        pred = lq
        for k, network in enumerate(self.network.steps):
            pred = network(self._enlarged(pred.clamp(0, 1) if k else pred, k, lq))
        return pred

    def traceable(self) -> tiling.Forward:
        """``forward``: the interpolation to the output size is part of the graph."""
        return self.forward

    def restore_whole(self, lq: Tensor) -> Tensor:
        """``forward``; any size fits."""
        pred: Tensor = self(lq)
        return pred

    def enlarge(self, lq: Tensor, *, run: Run, ensemble: bool, stages: int | None = None) -> Tensor:
        """The best result: per scale step the median of 8 flips and turns, back-projected, clamped.

        Args:
            lq: float, (1, C, H, W), [0, 1].
            run: applies a network to an enlarged image, whole or tile by tile.
            ensemble: else one view.
            stages: only so many scale steps; None for all.

        Returns:
            float, (1, C, h, w), [0, 1].
        """
        pred: Tensor = lq
        for k, network in enumerate(self.network.steps[:stages]):
            enlarged = self._enlarged(pred, k, lq)
            pred = self._views(network, enlarged, run, ensemble=ensemble)
            pred = self._back_projected(pred, lq, math.prod(self.factors[: k + 1])).clamp(0, 1)
        return pred

    def run(
        self, network: tiling.Forward, enlarged: Tensor, *, tile: int | None, report: Progress | None = None
    ) -> Tensor:
        """A network over an enlarged image, whole or by tiles with its radius as their halo: exactly the whole.

        Args:
            network: float (1, C, h, w) -> the same.
            enlarged: float, (1, C, H, W).
            tile: side in its pixels; None for the whole.
            report: called as ``report(tiles done, tiles)``; it may raise to stop.
        """
        if tile is not None:
            return tiling.tiled(network, enlarged, scale=1, tile=tile, halo=self.radius, progress=report)
        pred: Tensor = network(enlarged)
        if report is not None:
            report(1, 1)
        return pred

    def tile_within(self, size: tuple[int, int], memory_gb: float = 4.0) -> int | None:
        """The largest tile for an enlarged image of (height, width) that fits the GiB; None where the whole does.

        Raises:
            ValueError: not even the smallest does.
        """
        return tiling.largest_tile(
            size, bytes_per_pixel=self.bytes_per_enlarged_pixel, memory_gb=memory_gb, halo=self.radius
        )

    def _views(self, network: ZSSRNetwork, enlarged: Tensor, run: Run, *, ensemble: bool) -> Tensor:
        if not ensemble:
            return run(network, enlarged)

        def median(image: Tensor) -> Tensor:
            return tiling.self_ensemble(network, image, median=True)

        return run(median, enlarged)

    def _enlarged(self, pred: Tensor, k: int, lq: Tensor) -> Tensor:
        """``pred`` after k scale steps, interpolated to the size of the next."""
        total = math.prod(self.factors[: k + 1])
        size = (new_length(lq.shape[-2], total), new_length(lq.shape[-1], total))
        return resize(pred, self.factors[k], size=size).contiguous(memory_format=torch.channels_last)

    def _back_projected(self, pred: Tensor, lq: Tensor, total: float) -> Tensor:
        before, least = pred, torch.tensor(torch.inf)
        for _ in range(self.rounds):
            missing = lq - self.shrink(pred, total, (lq.shape[-2], lq.shape[-1]))
            error = missing.square().mean()
            if error >= least:  # with a kernel whose spectrum is negative somewhere the rounds diverge
                return before
            before, least = pred, error
            pred = pred + resize(missing, total, size=(pred.shape[-2], pred.shape[-1]))
        return pred

    def shrink(self, image: Tensor, factor: float, size: tuple[int, int] | None = None) -> Tensor:
        """How sons are made of fathers, and what back-projection holds the result against.

        Args:
            image: float, (..., C, H, W). factor: above 1.
            size: of the result; by default the sides divided by ``factor``, rounded up.
        """
        if self.kernel is None:
            return resize(image, 1 / factor, size=size)
        return blur_kernels.shrink(image, self.kernel, round(factor))

    def look_at(self, image: Tensor, *, is_noisy: bool) -> None:
        """Settle what depends on the picture that is about to be learnt: rounds of back-projection, the kernel.

        Args:
            image: float, (C, H, W), [0, 1]. is_noisy: whether its sons are made noisy.

        Raises:
            ValueError: the picture is too small, or holds no detail.
        """
        if self.hparams["back_projection"] is None:
            self.rounds = 0 if is_noisy else 8
        if self.hparams["kernel"] == "estimate" and self.kernel is None:
            self.kernel = estimate_kernel(image, round(self.scale), steps=self.hparams["kernel_steps"], seed=0)
            log.info("the kernel's standard deviations are %.2f and %.2f px", *blur_kernels.widths(self.kernel))

    # --- training ---

    def configure_callbacks(self) -> list[Callback]:
        """What changes between steps happens before the checkpoint of the step."""
        return [self.steps]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """One batch of the present scale step; ``lq`` is already enlarged to the size of ``gt``."""
        lq = batch["lq"].contiguous(memory_format=torch.channels_last)
        loss = pixel.l1(self.network.steps[self.steps.stage](lq), batch["gt"])
        self.log_training(loss)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam; networks of later scale steps get no gradient yet, so their moments begin with their step."""
        return torch.optim.Adam(self.network.parameters(), self.hparams["lr"])

    def on_validation_epoch_end(self) -> None:
        """The newest state holds the best weights of every scale step so far, so it is the best."""
        self.best = float("-inf")
        super().on_validation_epoch_end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the scale steps."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["scale_steps"] = self.steps.state()
        checkpoint["restore"]["arguments"]["back_projection"] = self.rounds
        if self.kernel is not None:  # the matrix, for the file may not be there any more
            checkpoint["restore"]["arguments"]["kernel"] = self.kernel.tolist()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back."""
        super().on_load_checkpoint(checkpoint)
        self.steps.load(checkpoint["scale_steps"])
        stored = checkpoint["restore"]["arguments"]["kernel"]
        if self.hparams["kernel"] == "estimate" and isinstance(stored, list):
            self.kernel = torch.tensor(stored, dtype=torch.float64)


def _halo(factors: list[float], radius: int) -> int:
    """Receptive radius in lq pixels: a network's, and two for the cubic kernel, once for each scale step."""
    halo = 0
    for factor in reversed(factors):
        halo = math.ceil((halo + radius) / factor) + 2
    return halo


def _given_kernel(kernel: str | list[list[float]] | None, scale: float) -> Tensor | None:
    """float64 (h, w); None for bicubic, and for one that the picture will be asked for."""
    if isinstance(kernel, list):
        return torch.tensor(kernel, dtype=torch.float64)
    if kernel == "estimate":
        check_scale(int(scale))
    return None if kernel in (None, "estimate") else read_kernel(kernel, setting="model.kernel")
