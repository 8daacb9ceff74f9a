"""The terms of translation's losses at one level, and the bounds of their settings."""

import math
from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn

from restore.distributed import collectives
from restore.losses import adversarial, pixel
from restore.losses.diff_augment import POLICIES, diff_augment
from restore.losses.style import StyleLoss
from restore.ops.resize import Interpolation

Pyramid = list[Tensor]

WEIGHTS = ("l1", "adversarial", "style", "feature_matching", "frequency", "r1")
STYLE_SHARE = 0.5  # of L1's, at the start of a stage


def discriminator_terms(
    judge: nn.Module, condition: Tensor, gt: Tensor, fake: Tensor, given: Mapping[str, Any]
) -> dict[str, Tensor]:
    """What a discriminator lowers.

    Args:
        condition: (N, C, h, w). gt, fake: (N, 3, h, w); ``fake`` is detached. All in [0, 1].
        given: the model's settings.

    Returns:
        ``discriminator``, and ``r1`` where the adversarial loss is non-saturating.
    """
    kind, augment = given["adversarial"], given["augment"]
    has_r1 = kind == "non_saturating" and given["r1_weight"] > 0
    real = gt.detach().requires_grad_(has_r1)
    real_logits, _ = judge(*diff_augment(condition, real, augment))
    fake_logits, _ = judge(*diff_augment(condition, fake, augment))
    terms = {"discriminator": adversarial.discriminator_loss(real_logits, fake_logits, kind)}
    if has_r1:
        terms["r1"] = adversarial.r1(real_logits, real)
    return terms


def generator_terms(
    judge: nn.Module | None,
    style: StyleLoss | None,
    condition: Tensor,
    gt: Tensor,
    fake: Tensor,
    given: Mapping[str, Any],
) -> dict[str, Tensor]:
    """What the generator lowers, before weights, without the terms whose weight is zero.

    Args:
        judge: the level's discriminator, frozen by the caller; None for without.
        condition, gt, fake, given: as of :func:`discriminator_terms`; ``fake`` with its gradient.
    """
    terms: dict[str, Tensor] = {}
    if given["l1_weight"]:
        terms["l1"] = pixel.l1(fake, gt)
    if judge is not None:
        logits, features = judge(*diff_augment(condition, fake, given["augment"]))
        terms["adversarial"] = adversarial.generator_loss(logits, given["adversarial"])
        if given["feature_matching_weight"]:
            if given["augment"]:  # drawn anew for each picture, so features of augmented ones do not match
                _, features = judge(condition, fake)
            with torch.no_grad():
                _, wanted = judge(condition, gt)
            terms["feature_matching"] = adversarial.feature_matching(features, wanted)
    if style is not None:
        terms["style"] = style(fake, gt)
    if given["frequency_weight"]:
        terms["frequency"] = pixel.frequency_l1(fake, gt)
    return terms


def calibrated_style_weight(terms: Mapping[str, Tensor], l1_weight: float) -> Tensor:
    """The weight with which the style loss, as it stands in the global batch, counts half as much as L1.

    Args:
        terms: scalars of this process, ``l1`` and ``style`` among them.

    Returns:
        A scalar, the same in all processes.
    """
    l1, style = collectives.all_reduce_mean(torch.stack([terms["l1"].detach(), terms["style"].detach()]))
    weight: Tensor = STYLE_SHARE * l1_weight * l1 / style.clamp(min=1e-12)
    return weight


def check_settings(given: Mapping[str, Any]) -> None:
    """Hold the model's settings against their bounds.

    Raises:
        ValueError: naming the setting, what it is and what was expected.
    """
    for name in WEIGHTS:
        weight = given[f"{name}_weight"]
        if not (name == "style" and weight is None) and not 0 <= weight < math.inf:
            raise ValueError(f"model.{name}_weight is {weight}, expected a number, at least 0")
    if given["style_weight"] is None and not given["l1_weight"]:
        raise ValueError("model.style_weight is null, half of L1's share, but model.l1_weight is 0; give it a number")
    if not any(given[f"{name}_weight"] is None or given[f"{name}_weight"] for name in WEIGHTS if name != "r1"):
        raise ValueError("model.l1_weight and all other weights are 0, so nothing would be learnt; set one above 0")
    if given["feature_matching_weight"] and not given["adversarial_weight"]:
        raise ValueError(
            "model.feature_matching_weight compares a discriminator's features, but model.adversarial_weight is 0, "
            "which means no discriminator; set it above 0"
        )
    if given["scale"] != 1:
        raise ValueError(f"model.scale is {given['scale']}, expected 1: translation keeps the size; leave it out")
    choices = {"adversarial": adversarial.Adversarial, "interpolation": Interpolation}
    for name, kind in choices.items():
        if given[name] not in get_args(kind):
            raise ValueError(f"model.{name} is {given[name]}, expected {', '.join(get_args(kind))}")
    if not set(given["augment"]) <= set(POLICIES):
        raise ValueError(f"model.augment is {list(given['augment'])}, expected any of {', '.join(POLICIES)}")
    if given["input_kind"] not in ("rgb", "labels"):
        raise ValueError(f"model.input_kind is {given['input_kind']}, expected rgb or labels")
    _check_optimiser(given)


def _check_optimiser(given: Mapping[str, Any]) -> None:
    weights = given["level_weights"]
    if weights is not None and (len(weights) != given["levels"] or not all(0 < w < math.inf for w in weights)):
        raise ValueError(
            f"model.level_weights is {weights}, expected {given['levels']} numbers (model.levels), above 0 each"
        )
    if not 0 < given["lr"] < math.inf:
        raise ValueError(f"model.lr is {given['lr']}, expected a number above 0")
    if len(given["betas"]) != 2 or not all(0 <= beta < 1 for beta in given["betas"]):
        raise ValueError(f"model.betas is {list(given['betas'])}, expected two numbers, at least 0 and below 1")
    if given["discriminator_width"] < 1:
        raise ValueError(f"model.discriminator_width is {given['discriminator_width']}, expected at least 1")
