import pytest
import torch
from torch import nn

from restore.networks.patch_gan import PatchDiscriminator, strided_layers


@pytest.mark.parametrize(("side", "layers"), [(8, 1), (16, 1), (31, 1), (32, 2), (48, 2), (64, 3), (128, 3), (1024, 3)])
def test_smaller_images_get_fewer_strided_layers(side: int, layers: int) -> None:
    assert strided_layers(side) == layers


def field(layers: int) -> int:
    """Side of the patch one logit sees, found by its gradient; instance norm, which sees all, taken out."""
    judge = PatchDiscriminator(width=2, layers=layers)
    for block in judge.blocks:
        assert isinstance(block, nn.Sequential)
        block[1] = nn.Identity()
    picture = torch.rand(1, 3, 160, 160, requires_grad=True)
    logits, _ = judge(torch.rand(1, 3, 160, 160), picture)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    assert picture.grad is not None
    return int(picture.grad.abs().sum((0, 1, 2)).ne(0).sum())


@pytest.mark.parametrize(("layers", "side"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_a_patch_of_so_many_pixels(layers: int, side: int) -> None:
    assert field(layers) == side


@pytest.mark.parametrize("spectral", [False, True])
def test_the_smallest_level_can_be_judged_and_all_features_are_given(spectral: bool) -> None:
    judge = PatchDiscriminator(in_channels=1, width=4, layers=1, spectral=spectral)
    logits, features = judge(torch.rand(2, 1, 8, 8), torch.rand(2, 3, 8, 8))
    assert logits.shape == (2, 1, 2, 2)
    assert [each.shape[1] for each in features] == [4, 8]


def test_the_judgement_depends_on_the_condition() -> None:
    judge, picture = PatchDiscriminator(width=4, layers=1), torch.rand(1, 3, 16, 16)
    assert not torch.equal(judge(torch.rand(1, 3, 16, 16), picture)[0], judge(torch.rand(1, 3, 16, 16), picture)[0])


def test_spectral_norm_bounds_every_convolution() -> None:
    torch.manual_seed(0)
    judge = PatchDiscriminator(width=8, layers=2, spectral=True)
    for _ in range(30):  # power iterations
        judge(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    weights = [m.weight for m in judge.modules() if isinstance(m, nn.Conv2d)]
    assert len(weights) == 4
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_the_70_pixel_discriminator_has_2_77_million_parameters() -> None:
    with torch.device("meta"):
        judge = PatchDiscriminator()
    assert sum(p.numel() for p in judge.parameters()) == 16 * (6 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 961
