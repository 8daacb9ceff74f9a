"""Super-resolution with information-gain attention."""

from typing import Literal, get_args

import torch

from restore.io.errors import SettingError
from restore.losses import pixel
from restore.models import optimization
from restore.models.optimization import LRFactor
from restore.models.pixel_loss_model import PixelLoss, PixelLossModel
from restore.models.settings import arguments_as_settings
from restore.networks.information_gain import Attention, ImageSkip, InformationGainNetwork

Schedule = Literal["cosine", "halving"]


class SuperResolution(PixelLossModel):
    """Enlarges photos by a fixed scale with the information-gain attention network.

    Li, Li, Li, Liu, Gao, "Information-Growth Attention Network for Image Super-Resolution", ACM Multimedia 2021.
    Trained with L1 and Adam on square crops, with bicubically downscaled crops as lq.

    Args:
        scale, groups, blocks, channels, attention, image_skip: see :class:`InformationGainNetwork`.
        lr, betas: of Adam; published 1e-4 and (0.9, 0.99).
        schedule: ``cosine`` falls to zero at the last step; ``halving`` halves the rate every ``halve_every`` steps.
        warmup_steps: number of steps over which the learning rate rises linearly.
        halve_every: steps, published 200 000.
        frequency_weight: weight of the additional L1 loss between spectra; 0 as published.
        compile: compile the network in place (``torch.compile``); worthwhile for long GPU runs.

    Raises:
        ValueError: a value that the network or the schedule does not accept.
    """

    method = "super_resolution"
    optimizer = torch.optim.Adam
    training_settings = ("lr", "betas", "schedule", "warmup_steps", "halve_every", "frequency_weight", "compile")
    network: InformationGainNetwork

    def __init__(
        self,
        *,
        scale: int = 2,
        groups: int = 4,
        blocks: int = 4,
        channels: int = 32,
        attention: Attention = "gain",
        image_skip: ImageSkip = "bicubic",
        lr: float = 1e-3,
        betas: list[float] | tuple[float, float] = (0.9, 0.99),
        schedule: Schedule = "cosine",
        warmup_steps: int = 0,
        halve_every: int = 200_000,
        frequency_weight: float = 0.0,
        compile: bool = False,
    ) -> None:
        super().__init__()
        optimization.check_adam(lr=lr, betas=betas)
        optimization.check_weight("frequency_weight", frequency_weight)
        optimization.check_steps("warmup_steps", warmup_steps, least=0)
        optimization.check_steps("halve_every", halve_every, least=1)
        if schedule not in get_args(Schedule):
            raise SettingError("model.schedule", schedule, " or ".join(get_args(Schedule)))
        self.save_hyperparameters(logger=False)
        with arguments_as_settings():
            self.network = InformationGainNetwork(
                scale=scale, groups=groups, blocks=blocks, channels=channels, attention=attention, image_skip=image_skip
            )

    def _pixel_loss(self) -> tuple[str, PixelLoss]:
        return "l1", pixel.l1

    def _lr_factor(self) -> LRFactor:
        # not estimated_stepping_batches: reading it makes Lightning forget the position of a resumed run
        last, halve_every = self.trainer.max_steps, self.hparams["halve_every"]

        def halving(step: int) -> float:
            return float(0.5 ** (step // halve_every))

        schedule = optimization.cosine(last) if self.hparams["schedule"] == "cosine" else halving
        return optimization.warmed_up(schedule, self.hparams["warmup_steps"])
