"""The networks of zero-shot super-resolution: their contract, and how they enlarge."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from restore.data.embedded_photos import embedded
from restore.image import reading
from restore.models.zero_shot.network import ZeroShotNetwork
from restore.ops import tiling
from restore.ops.resize import new_length, resize

SMALL: dict[str, Any] = {"width": 8, "depth": 2}


def photo(side: int = 48) -> Tensor:
    return reading.read(embedded("photos_held_out")[0]).rgb()[:, 100 : 100 + side, 150 : 150 + side].contiguous()


def whole(network: Any, enlarged: Tensor) -> Tensor:
    pred: Tensor = network(enlarged)
    return pred


# of one scale step ceil(9 / scale) + 2; of several, ceil((halo of the later ones + 9) / factor) + 2
@pytest.mark.parametrize(("scale", "halo"), [(2.0, 7), (2.5, 6), (3.0, 12), (4.0, 10), (8.0, 12)])
def test_halo_is_the_radius_over_the_scale_plus_two(scale: float, halo: int) -> None:
    network = ZeroShotNetwork(scale=scale, width=4)
    assert network.halo == halo
    if len(network.factors) == 1:
        assert halo == math.ceil(9 / scale) + 2


@pytest.mark.parametrize("scale", [2.0, 3.0, 4.0, 8.0])
def test_nothing_farther_than_the_halo_is_seen(scale: float) -> None:
    torch.manual_seed(0)
    network = ZeroShotNetwork(scale=scale, width=4, depth=2).double()
    halo, centre = network.halo, 20
    lq = torch.rand(1, 3, 41, 41, dtype=torch.float64, requires_grad=True)
    first = int(scale) * centre
    network(lq)[..., first : first + int(scale), first : first + int(scale)].sum().backward()
    assert lq.grad is not None
    seen = torch.nonzero(lq.grad[0].abs().sum(0))
    assert halo is not None
    assert int(seen.min()) >= centre - halo
    assert int(seen.max()) <= centre + halo


@pytest.mark.parametrize(("scale", "tile"), [(2.0, 7), (4.0, 10)])
def test_tiled_is_the_whole_before_back_projection(scale: float, tile: int) -> None:
    torch.manual_seed(0)
    network = ZeroShotNetwork(scale=scale, width=8).eval()
    lq = photo(37)[None]
    assert network.halo is not None
    with torch.inference_mode():
        tiles = tiling.tiled(network, lq, scale=int(scale), tile=tile, halo=network.halo)
        assert (tiles - network(lq)).abs().max() < 1e-5


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), scale=st.sampled_from([1.3, 2.0, 2.5, 3.0, 4.0]))
def test_every_size_is_enlarged_to_the_scale_rounded_up(height: int, width: int, scale: float) -> None:
    network = ZeroShotNetwork(scale=scale, **SMALL).eval()
    lq = torch.rand(1, 3, height, width)
    with torch.inference_mode():
        for pred in (network(lq), network.enlarge(lq, run=whole)):
            assert pred.shape == (1, 3, new_length(height, scale), new_length(width, scale))
            assert pred.isfinite().all()


def test_back_projection_makes_the_result_shrink_to_the_input() -> None:
    lq = photo(24)[None]
    far, near = (ZeroShotNetwork(scale=2.0, back_projection=rounds, **SMALL).eval() for rounds in (0, 8))
    near.load_state_dict(far.state_dict())
    with torch.inference_mode():
        errors = [(resize(m.enlarge(lq, run=whole, views=1), 0.5) - lq).abs().mean() for m in (far, near)]
    assert errors[1] < errors[0] / 5


def test_the_ensemble_is_the_median_of_eight_turns() -> None:
    torch.manual_seed(0)
    network = ZeroShotNetwork(scale=2.0, back_projection=0, **SMALL).eval()
    lq = photo(12)[None]
    first, enlarged = network.steps[0], resize(lq, 2)
    views = []
    with torch.inference_mode():
        for turns in range(4):
            for flip in (False, True):
                view = enlarged.rot90(turns, (2, 3))
                pred = first(view.flip(3) if flip else view)
                views.append((pred.flip(3) if flip else pred).rot90(-turns, (2, 3)))
        expected = torch.quantile(torch.stack(views), 0.5, dim=0).clamp(0, 1)
        assert torch.allclose(network.enlarge(lq, run=whole), expected, atol=1e-6)


def test_with_one_channel_each_colour_is_enlarged_by_itself() -> None:
    torch.manual_seed(0)
    network = ZeroShotNetwork(in_channels=1, width=4, depth=1)
    lq = torch.rand(2, 3, 6, 7)
    pred = network(lq)
    assert pred.shape == (2, 3, 12, 14)
    assert torch.allclose(network(lq.flip(1)), pred.flip(1), atol=1e-6)
    assert not torch.allclose(network(lq[:1]), network(lq[1:]))


def test_later_steps_start_from_the_one_before() -> None:
    network = ZeroShotNetwork(scale=8.0, width=4, depth=1)
    first, second, third = (step.state_dict() for step in network.steps)
    assert all(torch.equal(first[name], third[name]) for name in first)
    with torch.no_grad():
        next(network.steps[1].parameters()).add_(1)
    network.hand_on(1)
    assert all(torch.equal(second[name], third[name]) for name in second)
    assert not torch.equal(first["layers.0.weight"], third["layers.0.weight"])
