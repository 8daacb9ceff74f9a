import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from restore.networks.second_order import SecondOrderAttention, covariance, matrix_sqrt


def well_conditioned(size: int, spread: float, seed: int) -> torch.Tensor:
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(size, size)))
    return torch.from_numpy((turn * np.linspace(1, spread, size)) @ turn.T)[None]


@pytest.mark.parametrize("shape", [(1, 4, 5, 7), (3, 8, 6, 6), (2, 2, 1, 9)])
def test_covariance_equals_numpy(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    for got, features in zip(covariance(x), x, strict=True):
        assert np.allclose(got, np.cov(features.flatten(1).numpy(), bias=True), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(2, 12), spread=st.floats(1, 8), seed=st.integers(0, 1000), level=st.floats(1e-3, 1e3))
def test_matrix_sqrt_equals_scipy_and_its_square_is_the_matrix(
    size: int, spread: float, seed: int, level: float
) -> None:
    matrix = well_conditioned(size, spread, seed) * level
    root = matrix_sqrt(matrix, iterations=20)
    assert np.allclose(root[0], scipy.linalg.sqrtm(matrix[0].numpy()), rtol=1e-8, atol=1e-8 * level**0.5)
    assert torch.allclose(root @ root, matrix, rtol=1e-8, atol=1e-8 * level)


def test_five_iterations_come_close_in_single_precision() -> None:
    matrix = well_conditioned(4, 3, seed=0).float()
    root = matrix_sqrt(matrix)
    assert root.dtype == torch.float32
    assert (root @ root - matrix).abs().max() / matrix.abs().max() < 0.02


def test_matrices_of_a_batch_do_not_mix() -> None:
    first, second = well_conditioned(5, 2, seed=1), 100 * well_conditioned(5, 6, seed=2)
    both = matrix_sqrt(torch.cat([first, second]))
    assert torch.allclose(both[:1], matrix_sqrt(first), rtol=1e-12)
    assert torch.allclose(both[1:], matrix_sqrt(second), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_root_of_zero_is_zero_with_finite_gradients(dtype: torch.dtype) -> None:
    matrix = torch.zeros(2, 6, 6, dtype=dtype, requires_grad=True)
    root = matrix_sqrt(matrix)
    assert torch.equal(root, torch.zeros_like(matrix))
    features = torch.full((1, 6, 1, 1), 0.7, dtype=dtype, requires_grad=True)
    matrix_sqrt(covariance(features)).sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("exponent", [-6, -3, 3])
def test_the_root_scales_with_the_features(exponent: int) -> None:
    x = torch.randn(1, 6, 9, 9)
    small = matrix_sqrt(covariance(x * 10.0**exponent))
    assert torch.allclose(small, matrix_sqrt(covariance(x)) * 10.0**exponent, rtol=1e-3, atol=10.0 ** (exponent - 4))


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (9, 5)])
@pytest.mark.parametrize("channels", [4, 16, 64])
def test_one_weight_per_channel_between_zero_and_one(channels: int, size: tuple[int, int]) -> None:
    weight = SecondOrderAttention(channels)(torch.randn(2, channels, *size))
    assert weight.shape == (2, channels, 1, 1)
    assert 0 < float(weight.min().detach()) <= float(weight.max().detach()) < 1


def test_the_order_of_positions_and_a_constant_do_not_matter() -> None:
    attention = SecondOrderAttention(8)
    x = torch.randn(1, 8, 6, 6)
    shuffled = x.flatten(2)[..., torch.randperm(36)].view_as(x)
    assert torch.allclose(attention(shuffled), attention(x), atol=1e-5)
    assert torch.allclose(attention(x + torch.randn(1, 8, 1, 1)), attention(x), atol=1e-5)


def test_the_iteration_stays_in_single_precision_under_autocast() -> None:
    attention = SecondOrderAttention(8)
    x = torch.randn(1, 8, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        weight = attention(x)
    assert torch.allclose(weight.float(), attention(x), atol=0.02)
