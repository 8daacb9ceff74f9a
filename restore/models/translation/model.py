"""Multi-resolution, multi-loss image-to-image translation."""

from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from restore.checkpoints.renames import with_current_names
from restore.distributed import collectives
from restore.io.errors import SettingError
from restore.losses.adversarial import Adversarial
from restore.losses.diff_augment import Policy
from restore.models import optimization
from restore.models.base import Keep, RestorationModel
from restore.models.settings import arguments_as_settings
from restore.models.translation import losses
from restore.models.translation.criterion import Criterion, pyramids
from restore.models.translation.losses import DiscriminatorSettings, LossWeights
from restore.models.translation.network import TranslationNetwork
from restore.models.translation.plan import measured_plan
from restore.models.translation.stages import Stage, make_stages, stage_at, with_equal_shares
from restore.networks.contract import InputKind
from restore.ops.resize import Interpolation


class Translation(RestorationModel):
    """Turns contour drawings, label maps or photos into photos, from coarse to fine.

    After a patent of UniDT (Huayuan Computing); see :class:`MultiResTranslation` for related papers. Input and
    reference become pyramids of N resolutions; at each level, the output is scored by a discriminator, L1 and a style
    loss. The levels are trained one after another, from low to high, then all together; see :func:`make_stages`. A
    ``step`` is one update of the generator, run by Lightning; the model itself steps the discriminators' optimiser.

    Args:
        levels, width, blocks, in_channels, input_kind, interpolation, image_side: see :class:`TranslationNetwork`.
        discriminator_width, spectral_norm: see :class:`PatchDiscriminator`.
        stages: see :func:`make_stages`.
        l1_weight, adversarial_weight, style_weight, feature_matching_weight, frequency_weight: of the losses; 0
            for none. ``style_weight=None``: set at the start of each stage so that its share is half of L1's.
        adversarial: ``least_squares``, ``hinge`` or ``non_saturating``, which includes R1 weighted by ``r1_weight``.
        style_features: see :class:`StyleLoss`.
        level_weights: factors of the levels' losses, the full resolution first; None: 1 each.
        augment: augmentations of the discriminators' inputs: any of ``color``, ``translation``, ``cutout``.
        lr, betas: of Adam, for generator and discriminators.
        scale: 1; translation keeps the image size.

    Raises:
        ValueError: another value.
    """

    method = "translation"
    monitor = "l1"
    smaller_is_better = True
    has_idle_parameters = True  # those of other stages
    period, average_from = 1, 0  # see CoarseToFine
    training_settings = ("stages", *losses.SETTINGS, "lr", "betas")
    network: TranslationNetwork

    def __init__(
        self,
        *,
        scale: int = 1,
        levels: int = 3,
        width: int = 32,
        blocks: int = 9,
        in_channels: int = 3,
        input_kind: InputKind = "rgb",
        interpolation: Interpolation = "bicubic",
        image_side: int | None = None,
        discriminator_width: int = 64,
        spectral_norm: bool = False,
        stages: list[dict[str, Any]] | None = None,
        l1_weight: float = 100.0,
        adversarial: Adversarial = "least_squares",
        adversarial_weight: float = 1.0,
        r1_weight: float = 10.0,
        style_weight: float | None = None,
        style_features: str = "vgg19",
        feature_matching_weight: float = 0.0,
        frequency_weight: float = 0.0,
        level_weights: list[float] | None = None,
        augment: list[Policy] | tuple[Policy, ...] = (),
        lr: float = 2e-4,
        betas: list[float] | tuple[float, float] = (0.5, 0.999),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        if scale != 1:
            raise SettingError("model.scale", scale, "1, because translation keeps the size", "leave it out")
        optimization.check_adam(lr=lr, betas=betas)
        self.loss_weights = LossWeights(
            l1=l1_weight,
            adversarial=adversarial_weight,
            style=style_weight,
            feature_matching=feature_matching_weight,
            frequency=frequency_weight,
            r1=r1_weight,
            levels=LossWeights.of_levels(level_weights, levels),
        )
        self.discriminator_settings = DiscriminatorSettings(
            loss=adversarial, augment=augment, width=discriminator_width, spectral_norm=spectral_norm
        )
        with arguments_as_settings():
            self.network = TranslationNetwork(
                levels=levels,
                width=width,
                blocks=blocks,
                in_channels=in_channels,
                input_kind=input_kind,
                interpolation=interpolation,
                image_side=image_side,
            )
        make_stages(stages, levels=levels)  # raises for wrong stages, before the data are read
        self.criterion: Criterion | None = None  # created for a training
        self.stages: list[Stage] = []
        self.stage: Stage | None = None
        self._stored_opt_d: dict[str, Any] | None = None

    @property
    def default_keep(self) -> Keep:
        """``last`` with an adversarial or style loss, because the detail that these add increases L1."""
        return "last" if self.loss_weights.adversarial or self.loss_weights.style != 0 else "best"

    # --- training ---

    def setup(self, stage: str) -> None:
        """Create what only training needs: the stages, and discriminators that fit the size of the crops."""
        if stage != "fit":
            return
        if self.trainer.precision == "16-mixed":
            reason = "another precision, because 16-mixed cannot train a discriminator"
            raise SettingError("trainer.precision", "16-mixed", reason, "set trainer.precision=bf16-mixed")
        self.stages = self._make_stages(self.trainer.max_steps)
        self.criterion = self.make_criterion(self.datamodule.patch_size)
        # ignored by DDP: their gradients come from a separate backward pass, and are averaged after it
        named = (self.criterion.named_parameters, self.criterion.named_buffers)
        self._ddp_params_and_buffers_to_ignore = [name for each in named for name, _ in each(prefix="criterion")]

    def make_criterion(self, side: int) -> Criterion:
        """The losses, with new discriminators, for training crops of ``side`` pixels."""
        weights, settings, style = self.loss_weights, self.discriminator_settings, self.hparams["style_features"]
        return Criterion(weights, settings, style_features=style, in_channels=self.in_channels, side=side)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam for the generator, stepped by Lightning, and one for the discriminators, stepped by the model."""
        assert self.criterion is not None
        self.criterion.move_others(self.device, self.weights_dtype)
        parameters = list(self.criterion.discriminators.parameters())
        self.opt_d = torch.optim.Adam(parameters) if parameters else None  # the learning rate is set at every step
        if self.opt_d is not None and self._stored_opt_d is not None:
            self.opt_d.load_state_dict(self._stored_opt_d)
        self._stored_opt_d = None
        return torch.optim.Adam(self.network.parameters())

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Enter the step's stage, with new optimiser states at its start, and set the learning rate."""
        step = self.trainer.global_step
        stage, own = stage_at(self.stages, step), [] if self.opt_d is None else [self.opt_d]
        optimizers = [*self.trainer.optimizers, *own]
        if stage != self.stage:
            self.enter(stage)
            if step == stage.begin:
                self._begin(stage, optimizers)
        lr = self.hparams["lr"] * stage.lr_factor(step)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group.update(lr=lr, betas=tuple(self.hparams["betas"]))

    def _begin(self, stage: Stage, optimizers: list[torch.optim.Optimizer]) -> None:
        assert self.criterion is not None
        self.criterion.forget_calibration(stage)
        for optimizer in optimizers:
            optimizer.state.clear()
        # a blurred image, from a lower level or an earlier stage, may have a lower L1 than a sharp one
        self.best = self.worst

    def enter(self, stage: Stage) -> None:
        """Make only the stage's modules trainable."""
        self.stage, self.average_from = stage, stage.begin
        self.network.train_levels(stage.trained, top=stage.top)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Update on one batch: ``lq`` (N, in_channels, h, w) and ``gt`` (N, 3, h, w), float in [0, 1]."""
        stage, criterion, accumulate = self.stage, self.criterion, self.trainer.accumulate_grad_batches
        assert stage is not None
        assert criterion is not None
        inputs, targets, fakes = pyramids(self.network, batch, stage)

        # discriminator step: the generator gets no gradient
        terms_d: dict[str, Tensor] = {}
        if self.opt_d is not None:
            loss_d, terms_d = criterion.discriminator_loss(inputs, targets, fakes, stage)
            (loss_d / accumulate).backward()
            if (batch_idx + 1) % accumulate == 0:
                collectives.average_gradients(criterion.discriminators.parameters())
                self.clip_gradients(self.opt_d)
                self.opt_d.step()
                self.opt_d.zero_grad()

        # generator step: Lightning differentiates the returned loss; the discriminators get no gradient
        loss, terms = criterion.generator_loss(inputs, targets, fakes, stage)
        self.log_training(loss, terms | terms_d)
        return loss

    # --- stages: the protocols Staged and CoarseToFine of restore.callbacks.contract ---

    def level_outputs(self, lq: Tensor) -> list[Tensor | None]:
        """See :meth:`TranslationNetwork.level_outputs`."""
        return self.network.level_outputs(lq)

    def stage_lengths(self, max_steps: int) -> dict[str, int]:
        """See the protocol."""
        return {stage.name: stage.end - stage.begin for stage in self._make_stages(max_steps)}

    def _make_stages(self, max_steps: int) -> list[Stage]:
        return make_stages(self.hparams["stages"], levels=self.hparams["levels"], max_steps=max_steps)

    def shorten_stages(self) -> None:
        """See the protocol."""
        self.hparams["stages"] = with_equal_shares(self.hparams["stages"])

    def stage_ending_at(self, step: int) -> str | None:
        """See the protocol."""
        return next((stage.file_name for stage in self.stages if stage.end == step), None)

    def plan(self) -> str:
        """The schedule of the stages in Markdown, with the measured time of a step in each stage."""
        assert self.criterion is not None
        data = self.datamodule
        return measured_plan(
            self.network,
            self.criterion,
            self.stages,
            self.trainer,
            side=data.patch_size,
            count=data.batch_size // self.trainer.world_size,
            lr=self.hparams["lr"],
        )

    # --- checkpoints ---

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the discriminators' optimiser and the calibrated weights."""
        assert self.criterion is not None
        self.record = self.criterion.record()
        super().on_save_checkpoint(checkpoint)
        checkpoint["translation"] = {
            "optimizer": None if self.opt_d is None else self.opt_d.state_dict(),
            **self.criterion.calibration(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore them."""
        assert self.criterion is not None
        super().on_load_checkpoint(checkpoint)
        state = with_current_names(checkpoint["state_dict"])
        checkpoint["state_dict"], prefix = state, "criterion."
        self.criterion.refuse_others({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        self._stored_opt_d = checkpoint["translation"]["optimizer"]
        self.criterion.load_calibration(checkpoint["translation"])
