import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from restore.losses.pixel import charbonnier, frequency_l1, l1, log_mse, mse_gradient

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
LOSSES: list[Loss] = [l1, frequency_l1, charbonnier, log_mse, mse_gradient]
HOMOGENEOUS: dict[Loss, int] = {l1: 1, frequency_l1: 1, mse_gradient: 2}  # of which degree in the error
LEAST: dict[Loss, float] = {charbonnier: 1e-3, log_mse: math.log(3e-5)}


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 3, 5, 7), (1, 1, 1, 1)])
def test_l1_equals_numpy(shape: tuple[int, ...]) -> None:
    pred, gt = pair(*shape)
    assert float(l1(pred, gt)) == pytest.approx(np.abs(pred.numpy() - gt.numpy()).mean(), rel=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 3, 5, 7), (1, 1, 1, 1)])
def test_frequency_l1_equals_a_transform_by_matrices(shape: tuple[int, ...]) -> None:
    pred, gt = pair(*shape)
    height, width = shape[-2:]
    rows, columns = (np.exp(-2j * np.pi * np.outer(range(n), range(n)) / n) / np.sqrt(n) for n in (height, width))
    spectra = [rows @ image.double().numpy() @ columns.T for image in (pred, gt)]
    # a real image's spectrum is its own mirror image: half of it says everything
    expected = np.abs(spectra[0] - spectra[1])[..., : width // 2 + 1].mean()
    assert float(frequency_l1(pred, gt)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_of_equal_images_is_least_with_finite_gradients(loss: Loss) -> None:
    pred, _ = pair(1, 3, 6, 9)
    gt = pred.clone()
    pred.requires_grad_()
    value = loss(pred, gt)
    assert value.shape == ()
    assert value.item() == pytest.approx(LEAST.get(loss, 0))
    value.backward()
    assert pred.grad is not None
    assert torch.isfinite(pred.grad).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_down_the_gradient_lowers_the_loss(loss: Loss) -> None:
    pred, gt = pair(2, 3, 6, 9)
    pred.requires_grad_()
    before = loss(pred, gt)
    before.backward()
    assert pred.grad is not None
    assert torch.isfinite(pred.grad).all()
    assert float(loss(pred.detach() - 0.1 * pred.grad, gt)) < float(before.detach())


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_symmetric(loss: Loss) -> None:
    pred, gt = pair(1, 3, 8, 8)
    assert float(loss(pred, gt)) == pytest.approx(float(loss(gt, pred)), rel=1e-6)


@pytest.mark.parametrize(("loss", "degree"), HOMOGENEOUS.items())
def test_a_loss_grows_with_the_error(loss: Loss, degree: int) -> None:
    pred, gt = pair(1, 3, 8, 8)
    assert float(loss(gt + 3 * (pred - gt), gt)) == pytest.approx(3**degree * float(loss(pred, gt)), rel=1e-5)


def test_charbonnier_is_the_error_where_it_is_large_and_smooth_where_it_is_small() -> None:
    gt = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    assert float(charbonnier(gt + 0.5, gt)) == pytest.approx(0.5, abs=2e-6)
    assert float(charbonnier(gt + 1e-3, gt)) == pytest.approx(2**0.5 * 1e-3, rel=1e-9)
    assert float(charbonnier(gt + 1e-5, gt)) == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 3, 5, 7), (1, 3, 2, 2)])
def test_mse_gradient_equals_sums_over_pixels(shape: tuple[int, ...]) -> None:
    pred, gt = pair(*shape)
    error = (pred - gt).double().numpy()
    grey = 0.299 * error[:, 0] + 0.587 * error[:, 1] + 0.114 * error[:, 2]
    across, down = grey[:, :, 1:] - grey[:, :, :-1], grey[:, 1:] - grey[:, :-1]
    expected = (error**2).mean() + 2.5 * ((across**2).mean() + (down**2).mean())
    assert float(mse_gradient(pred, gt)) == pytest.approx(expected, rel=1e-5)


def test_mse_gradient_weighs_an_edge_more_than_a_shift_in_brightness() -> None:
    gt = torch.zeros(1, 3, 8, 8)
    edge = gt.clone()
    edge[..., 4:] = 0.5**0.5
    assert float(mse_gradient(gt + 0.5, gt)) == pytest.approx(0.25)
    assert float(mse_gradient(edge, gt)) > 0.25 + 0.1


def test_frequency_l1_is_comparable_between_patch_sizes() -> None:
    generator = torch.Generator().manual_seed(0)
    small, large = (torch.randn(4, 3, side, side, generator=generator) for side in (16, 96))
    ratio = float(frequency_l1(large, 0 * large) / frequency_l1(small, 0 * small))
    assert ratio == pytest.approx(1, abs=0.05)


def test_frequency_l1_is_computed_in_full_precision() -> None:
    pred, gt = pair(1, 3, 8, 8)
    value = frequency_l1(pred.bfloat16(), gt.bfloat16())
    assert value.dtype == torch.float32


def test_log_mse_counts_a_decibel_the_same_in_every_image() -> None:
    pred, gt = pair(2, 3, 32, 32)
    weak, strong = pred.clone(), pred.clone()
    weak[0] = gt[0] + 0.5 * (pred[0] - gt[0])  # 6 dB better
    strong[1] = gt[1] + 0.5 * (pred[1] - gt[1])
    before = float(log_mse(pred, gt))
    gains = [before - float(log_mse(each, gt)) for each in (weak, strong)]
    assert gains == pytest.approx([math.log(4) / 2] * 2, rel=1e-3)
