"""The loss terms of translation at one level, and their settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import get_args

import torch
from torch import Tensor, nn

from restore.distributed import collectives
from restore.io.errors import SettingError
from restore.losses import adversarial, pixel
from restore.losses.adversarial import Adversarial
from restore.losses.diff_augment import POLICIES, Policy, diff_augment
from restore.losses.style import StyleLoss
from restore.models.optimization import check_weight

# arguments of the model that determine how its outputs are compared with the reference
SETTINGS = (
    "l1_weight",
    "adversarial",
    "adversarial_weight",
    "r1_weight",
    "style_weight",
    "style_features",
    "feature_matching_weight",
    "frequency_weight",
    "level_weights",
    "augment",
)
STYLE_SHARE = 0.5  # style loss / L1 loss at the start of a stage


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the loss terms; a term with weight 0 is not computed.

    Attributes:
        l1, adversarial, feature_matching, frequency: weights of the generator's terms.
        style: the same; None: calibrated at the start of each stage, see :func:`calibrated_style_weight`.
        r1: weight of the discriminators' gradient penalty.
        levels: factors of the generator's terms at each level, the full resolution first, above 0.

    Raises:
        SettingError: a weight is out of bounds, or weights exclude each other.
    """

    l1: float
    adversarial: float
    style: float | None
    feature_matching: float
    frequency: float
    r1: float
    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        terms: dict[str, float | None] = {
            each.name: getattr(self, each.name) for each in fields(self) if each.name != "levels"
        }
        for name, weight in terms.items():
            if weight is not None:
                check_weight(f"{name}_weight", weight)
        if self.style is None and not self.l1:
            reason = "a number, because null means half of L1's share and model.l1_weight is 0"
            raise SettingError("model.style_weight", "null", reason)
        if not any(weight is None or weight for name, weight in terms.items() if name != "r1"):
            reason = "a weight above 0, because all others are 0 as well and nothing would be learnt"
            raise SettingError("model.l1_weight", self.l1, reason)
        if self.feature_matching and not self.adversarial:
            reason = (
                "0, because with model.adversarial_weight=0 there is no discriminator whose features could be compared"
            )
            raise SettingError("model.feature_matching_weight", self.feature_matching, reason)

    @classmethod
    def of_levels(cls, given: Sequence[float] | None, count: int) -> tuple[float, ...]:
        """``levels`` for ``count`` levels; null means 1 each.

        Raises:
            SettingError: the number of weights differs, or a weight is not above 0.
        """
        found = tuple([1.0] * count if given is None else given)
        if len(found) != count or not all(0 < weight < float("inf") for weight in found):
            raise SettingError("model.level_weights", given, f"{count} numbers (model.levels), above 0 each")
        return found


@dataclass(frozen=True, kw_only=True)
class DiscriminatorSettings:
    """Settings of the discriminators at all levels.

    Attributes:
        loss: the kind of adversarial loss.
        augment: augmentations of the images they see.
        width, spectral_norm: see :class:`restore.networks.patch_gan.PatchDiscriminator`.

    Raises:
        SettingError: another value.
    """

    loss: Adversarial
    augment: Sequence[Policy]
    width: int
    spectral_norm: bool

    def __post_init__(self) -> None:
        if self.loss not in get_args(Adversarial):
            raise SettingError("model.adversarial", self.loss, ", ".join(get_args(Adversarial)))
        if not set(self.augment) <= set(POLICIES):
            raise SettingError("model.augment", list(self.augment), f"any of {', '.join(POLICIES)}")
        if self.width < 1:
            raise SettingError("model.discriminator_width", self.width, "at least 1")


def discriminator_terms(
    discriminator: nn.Module,
    condition: Tensor,
    gt: Tensor,
    fake: Tensor,
    *,
    weights: LossWeights,
    settings: DiscriminatorSettings,
) -> dict[str, Tensor]:
    """The loss terms of one discriminator, unweighted.

    Args:
        condition: (N, C, h, w). gt, fake: (N, 3, h, w); ``fake`` is detached. All in [0, 1].

    Returns:
        ``discriminator``, and ``r1`` if the adversarial loss is non-saturating.
    """
    has_r1 = settings.loss == "non_saturating" and weights.r1 > 0
    real = gt.detach().requires_grad_(has_r1)
    real_logits, _ = discriminator(*diff_augment(condition, real, settings.augment))
    fake_logits, _ = discriminator(*diff_augment(condition, fake, settings.augment))
    terms = {"discriminator": adversarial.discriminator_loss(real_logits, fake_logits, settings.loss)}
    if has_r1:
        terms["r1"] = adversarial.r1(real_logits, real)
    return terms


def generator_terms(
    discriminator: nn.Module | None,
    style: StyleLoss | None,
    condition: Tensor,
    gt: Tensor,
    fake: Tensor,
    *,
    weights: LossWeights,
    settings: DiscriminatorSettings,
) -> dict[str, Tensor]:
    """The generator's loss terms at one level, unweighted; terms of weight 0 are left out.

    Args:
        discriminator: of this level, frozen by the caller; None if there is none.
        condition, gt, fake: as for :func:`discriminator_terms`; ``fake`` with its gradient.
    """
    terms: dict[str, Tensor] = {}
    if weights.l1:
        terms["l1"] = pixel.l1(fake, gt)
    if discriminator is not None:
        logits, features = discriminator(*diff_augment(condition, fake, settings.augment))
        terms["adversarial"] = adversarial.generator_loss(logits, settings.loss)
        if weights.feature_matching:
            if settings.augment:  # augmentations differ between images, so features of augmented images would not match
                _, features = discriminator(condition, fake)
            with torch.no_grad():
                _, wanted = discriminator(condition, gt)
            terms["feature_matching"] = adversarial.feature_matching(features, wanted)
    if style is not None:
        terms["style"] = style(fake, gt)
    if weights.frequency:
        terms["frequency"] = pixel.frequency_l1(fake, gt)
    return terms


def l1_and_style(terms: Mapping[str, Tensor]) -> Tensor:
    """L1 and style loss over the global batch, (2,), identical in all processes.

    Args:
        terms: scalars of this process, including ``l1`` and ``style``.
    """
    mean: Tensor = collectives.all_reduce_mean(torch.stack([terms["l1"].detach(), terms["style"].detach()]))
    return mean


def calibrated_style_weight(sums: Tensor, l1_weight: float) -> Tensor:
    """The weight, a scalar, that makes the style loss half of the L1 loss over some batches.

    Args:
        sums: sums over these batches of :func:`l1_and_style`, (2,).
    """
    l1, style = sums
    weight: Tensor = STYLE_SHARE * l1_weight * l1 / style.clamp(min=1e-12)
    return weight
