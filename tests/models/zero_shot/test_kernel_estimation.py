import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image
from torch import Tensor

from restore.data.embedded_photos import embedded
from restore.models.zero_shot.kernel_estimation import estimate_kernel
from restore.ops.blur_kernels import gaussian_kernel, shrink
from restore.ops.resize import resize


def photo(name: str, side: int) -> Tensor:
    path = next(path for path in embedded("photos_train") + embedded("photos_held_out") if path.stem == name)
    with Image.open(path) as file:
        pixels = np.array(file.convert("RGB"))
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return torch.from_numpy(pixels[top : top + side, left : left + side]).permute(2, 0, 1).float() / 255


def eight_bit(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255).round() / 255


def covariance(kernel: Tensor) -> Tensor:
    position = torch.from_numpy(np.argwhere(np.ones(kernel.shape))).double()
    weight = kernel.double().reshape(-1, 1)
    position = position - (position * weight).sum(0)
    return (position * weight).T @ position


def direction(kernel: Tensor) -> float:
    """Of the long axis: radians, 0 along the rows, growing downwards."""
    y, x = torch.linalg.eigh(covariance(kernel)).eigenvectors[:, 1].tolist()
    return math.atan2(y, x) % math.pi


def between(first: float, second: float) -> float:
    apart = abs(first - second) % math.pi
    return min(apart, math.pi - apart)


def assert_is_a_kernel(kernel: Tensor) -> None:
    assert kernel.dtype == torch.float64
    assert all(side % 2 for side in kernel.shape)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-9)
    assert float(kernel.min()) > -0.01 * float(kernel.max())
    middle = [(side - 1) / 2 for side in kernel.shape]
    assert np.abs(np.subtract(scipy.ndimage.center_of_mass(kernel.numpy()), middle)).max() < 1e-6


@pytest.mark.parametrize("steps", [0, 3])
def test_a_seed_gives_one_kernel_and_another_almost_the_same(steps: int) -> None:
    lq = photo("chelsea", 96)
    first, again, other = (estimate_kernel(lq, 2, steps=steps, seed=seed) for seed in (0, 0, 1))
    assert_is_a_kernel(first)
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (steps == 0)
    assert (covariance(first) - covariance(other)).norm() < 0.05 * covariance(first).norm()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_spectrum_alone_shows_the_blur(scale: int) -> None:
    """Widths are given for x2; lq shows the same blur at every scale."""
    true = gaussian_kernel(1.1 * scale, 0.6 * scale, 0.8, 12 * scale + 1)
    lq = eight_bit(shrink(photo("astronaut", 512), true, scale))
    found = estimate_kernel(lq, scale, steps=0, seed=0)
    assert_is_a_kernel(found)
    assert between(direction(found), 0.8) < math.radians(10)
    assert (covariance(found) - covariance(true)).norm() < 0.3 * covariance(true).norm()


def test_a_bicubic_shrink_is_taken_for_a_narrow_blur() -> None:
    found = estimate_kernel(eight_bit(resize(photo("astronaut", 512), 0.5)), 2, steps=0, seed=0)
    assert float(covariance(found).trace()) < 2 * 0.95**2  # the Gaussian next to it has 0.86 px


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_colour_and_oblong_images_of_the_least_size(channels: int) -> None:
    lq = photo("coffee", 130)[:channels, :64]
    for scale in (2, 4):
        assert_is_a_kernel(estimate_kernel(lq, scale, steps=2, seed=0))


def test_the_callers_state_and_image_are_left_alone() -> None:
    lq = photo("chelsea", 64)
    kept, state = lq.clone(), torch.get_rng_state()
    seen: list[tuple[int, int]] = []
    with torch.inference_mode():
        estimate_kernel(lq, 2, steps=2, seed=5, report=lambda step, steps: seen.append((step, steps)))
    assert seen == [(1, 2), (2, 2)]
    assert torch.equal(lq, kept)
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_and_hard_edges_give_a_kernel_too() -> None:
    noise = torch.rand(3, 70, 70, generator=torch.Generator().manual_seed(0))
    stripes = (torch.arange(70) // 9 % 2).float().expand(3, 70, 70)
    for lq in (noise, stripes, 0.5 + 0.01 * noise):
        assert_is_a_kernel(estimate_kernel(lq, 2, steps=2, seed=0))


@pytest.mark.parametrize(
    ("image", "scale", "steps", "words"),
    [
        (torch.rand(3, 64, 64), 5, 1, "scale is 5, expected 2, 3 or 4"),
        (torch.rand(3, 64, 64), 2, -1, "kernel=estimate: steps is -1, expected 0 or more"),
        (torch.rand(4, 64, 64), 2, 1, "kernel=estimate: .* expected a float image of shape"),
        (torch.zeros(3, 64, 64, dtype=torch.uint8), 2, 1, "kernel=estimate: .* expected a float image of shape"),
        (
            torch.rand(3, 63, 200),
            2,
            1,
            "kernel is estimate, expected .* at least 64 px in each direction, .* it has 200x63",
        ),
        (torch.full((3, 64, 64), 0.3), 2, 1, "kernel is estimate, expected an image with detail"),
        (torch.full((3, 64, 64), math.nan), 2, 1, "kernel is estimate, expected an image with detail"),
    ],
)
def test_what_shows_no_blur_is_refused(image: Tensor, scale: int, steps: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        estimate_kernel(image, scale, steps=steps, seed=0)


@pytest.mark.slow
def test_a_strongly_anisotropic_blur_is_found() -> None:
    true = gaussian_kernel(2.4, 0.9, 2.2, 25)
    lq = eight_bit(shrink(photo("astronaut", 512), true, 2))
    found = estimate_kernel(lq, 2, steps=100, seed=0)
    assert_is_a_kernel(found)
    assert between(direction(found), 2.2) < math.radians(8)
    # second moments of the bicubic kernel are 0: it keeps parabolas
    assert (covariance(found) - covariance(true)).norm() < 0.2 * covariance(true).norm()
