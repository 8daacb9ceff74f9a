import math

import pytest
import torch

from restore.losses import adversarial
from restore.networks.patch_gan import PatchDiscriminator

LOGITS = torch.tensor([[-2.0, 0.5, 3.0]])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("kind", "generator", "discriminator"),
    [
        ("least_squares", (9 + 0.25 + 4) / 3, ((4 + 0.25 + 9) / 3 + (9 + 0.25 + 4) / 3) / 2),
        ("hinge", -0.5, (3 + 0.5 + 0) / 3 + (0 + 1.5 + 4) / 3),
        (
            "non_saturating",
            sum(softplus(-x) for x in (-2, 0.5, 3)) / 3,
            sum(softplus(-x) for x in (-2, 0.5, 3)) / 3 + sum(softplus(x) for x in (-2, 0.5, 3)) / 3,
        ),
    ],
)
def test_losses_are_those_of_the_papers(kind: adversarial.Adversarial, generator: float, discriminator: float) -> None:
    assert adversarial.generator_loss(LOGITS, kind).item() == pytest.approx(generator, rel=1e-5)
    assert adversarial.discriminator_loss(LOGITS, LOGITS, kind).item() == pytest.approx(discriminator, rel=1e-5)


@pytest.mark.parametrize("kind", ["least_squares", "hinge", "non_saturating"])
def test_descending_moves_logits_the_right_way(kind: adversarial.Adversarial) -> None:
    real, fake = torch.full((4,), 0.5, requires_grad=True), torch.full((4,), 0.5, requires_grad=True)
    adversarial.discriminator_loss(real, fake, kind).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()
    judged = torch.zeros(4, requires_grad=True)
    adversarial.generator_loss(judged, kind).backward()
    assert judged.grad is not None
    assert (judged.grad < 0).all()


def test_r1_is_half_the_squared_gradient_and_can_be_differentiated() -> None:
    slope = torch.tensor(3.0, requires_grad=True)
    pictures = torch.rand(2, 3, 4, 4, requires_grad=True)
    penalty = adversarial.r1((slope * pictures).sum((1, 2, 3)), pictures)
    assert penalty.item() == pytest.approx(48 * 9 / 2)
    penalty.backward()
    assert slope.grad is not None
    assert slope.grad.item() == pytest.approx(48 * 3)


def test_r1_weighs_a_large_image_as_much_as_a_small_one() -> None:
    """The adversarial loss is a mean over patches, so the penalty must not be a sum over them."""
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(in_channels=3, width=8, layers=3)
    found = []
    for side in (64, 256):
        pictures = torch.rand(1, 3, side, side, requires_grad=True)
        logits, _ = discriminator(torch.zeros(1, 3, side, side), pictures)
        found.append(adversarial.r1(logits, pictures).item())
    assert 1 / 4 < found[1] / found[0] < 4  # patches at the border see less


def test_feature_matching_moves_the_generated_side_alone() -> None:
    fake, real = torch.ones(1, 2, 3, 3, requires_grad=True), torch.zeros(1, 2, 3, 3, requires_grad=True)
    loss = adversarial.feature_matching([fake, 2 * fake], [real, real])
    assert loss.item() == pytest.approx(1.5)
    loss.backward()
    assert fake.grad is not None
    assert real.grad is None
