import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.data.embedded_photos import embedded
from restore.degradations.basic import Jpeg
from restore.image import reading
from restore.ops import damage
from restore.ops.resize import resize_8bit


@pytest.fixture(scope="module")
def cat() -> Tensor:
    """A clean photo: shrunk by half, so that nothing of its camera is left; (3, 150, 225)."""
    return resize_8bit(reading.read_rgb8(embedded("photos_held_out")[0]), 0.5).float() / 255


def noise(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sigma", [0.01, 0.04])
def test_noise_is_measured_in_colour_and_in_brightness(cat: Tensor, sigma: float) -> None:
    ramp = torch.linspace(0.2, 0.8, 200).expand(3, 160, 200)
    assert damage.colour_noise(ramp + sigma * noise(ramp.shape)) == pytest.approx(sigma, rel=0.15)
    assert damage.grey_noise(ramp[0] + sigma * noise(ramp.shape[1:])) == pytest.approx(sigma, rel=0.25)
    assert damage.colour_noise(ramp) < 1e-6 > damage.grey_noise(ramp[0])
    assert damage.colour_noise(cat) < 0.005 < 0.9 * sigma < damage.colour_noise(cat + sigma * noise(cat.shape))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 5)])
def test_the_blocks_of_jpeg_are_found_wherever_their_grid_begins(cat: Tensor, top: int, left: int) -> None:
    coded, _ = Jpeg(low=50, high=50)(cat, np.random.default_rng(0))
    grey = damage.grey_of(coded)[top:, left:]
    assert damage.blockiness(damage.grey_of(cat)) < 0.06
    assert damage.blockiness(grey) > 0.12


def test_a_soft_photo_lacks_the_finest_band(cat: Tensor) -> None:
    grey = damage.grey_of(cat)
    soft = F.avg_pool2d(grey[None], 3, stride=1)[0]
    assert damage.softness(soft) > 2.5 * damage.softness(grey)


@pytest.mark.parametrize("size", [(1, 1), (63, 200)])
def test_what_is_too_small_counts_as_undamaged(size: tuple[int, int]) -> None:
    rgb = torch.rand(3, *size)
    grey = damage.grey_of(rgb)
    assert damage.colour_noise(rgb) == damage.grey_noise(grey) == damage.blockiness(grey) == damage.softness(grey) == 0


def test_a_flat_image_is_undamaged() -> None:
    flat = torch.full((64, 64), 0.5)
    assert damage.blockiness(flat) == damage.softness(flat) == damage.grey_noise(flat) == 0
