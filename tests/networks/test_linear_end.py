import pytest
import torch
from torch import nn

from restore.networks import linear_end
from restore.networks.information_gain import END_RADIUS, Upsampler


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_end_as_one_convolution_gives_the_same_to_the_border(scale: int) -> None:
    torch.manual_seed(0)
    end = nn.Sequential(Upsampler(scale, 4), nn.Conv2d(4, 3, 3, padding=1)).double()
    x = torch.randn(1, 4, 9, 4, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(linear_end.enlarged(end, x, scale=scale, radius=END_RADIUS), end(x), atol=1e-12)


def test_only_maps_much_larger_than_the_kernels_are_worth_it() -> None:
    assert not linear_end.pays_for(torch.empty(1, 32, 200, 200, device="meta"), END_RADIUS)
    assert linear_end.pays_for(torch.empty(1, 32, 210, 210, device="meta"), END_RADIUS)
