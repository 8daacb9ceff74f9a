"""Adversarial losses, R1 and feature matching; pure functions of logits, features and images."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.losses.pixel import at_least_float32

Adversarial = Literal["least_squares", "hinge", "non_saturating"]


def generator_loss(fake: Tensor, kind: Adversarial) -> Tensor:
    """Loss of the generator: low if the discriminator takes its images as real.

    Args:
        fake: logits of generated images, any shape.
        kind: ``least_squares`` (Mao et al., ICCV 2017), ``hinge`` (Lim and Ye, 2017; Miyato et al., ICLR 2018) or
            ``non_saturating`` (Goodfellow et al., NeurIPS 2014).
    """
    if kind == "least_squares":
        return (fake - 1).square().mean()
    return -fake.mean() if kind == "hinge" else F.softplus(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor, kind: Adversarial) -> Tensor:
    """Loss of the discriminator: the sum over real and generated images; half of it for least squares.

    The factors are those of the papers named above.

    Args:
        real, fake: logits of real and generated images. kind: as for :func:`generator_loss`.
    """
    if kind == "least_squares":
        return ((real - 1).square().mean() + fake.square().mean()) / 2
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def r1(real: Tensor, images: Tensor) -> Tensor:
    """Half the squared gradient of a logit with respect to the real images (Mescheder et al., ICML 2018, eq. 9).

    With one logit per patch, it is the mean over patches, like the adversarial loss, as far as patches do not overlap;
    so its relative weight does not grow with the image.

    Args:
        real: (N, ...) logits of ``images``, which must require a gradient: (N, C, H, W).

    Returns:
        Mean over the N images; differentiable.
    """
    (gradient,) = torch.autograd.grad(at_least_float32(real).sum(), images, create_graph=True)
    return gradient.square().sum() / (2 * real.numel())


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean L1 between the discriminator's features of both images (Wang et al., "pix2pixHD", CVPR 2018, eq. 4).

    Args:
        fake, real: (N, C, H, W) for each block; ``real`` is detached.
    """
    terms = [(one - other.detach()).abs().mean() for one, other in zip(fake, real, strict=True)]
    return torch.stack(terms).mean()
