import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from torch import Tensor

from restore.networks.attention_generator import local_mean
from restore.networks.information_gain import Attention, InformationGainNetwork
from restore.ops import tiling


def network(window: int | None, kind: Attention = "gain", scale: int = 2) -> InformationGainNetwork:
    torch.manual_seed(0)
    made = InformationGainNetwork(scale=scale, groups=2, blocks=1, channels=8, attention=kind).double().eval()
    for name, parameter in made.named_parameters():
        if "squash" in name:
            parameter.data *= 20  # else the attention hardly varies
    if window is not None:
        made.pool_locally(window)
    return made


@pytest.mark.parametrize("window", [3, 4, 9])
def test_the_mean_is_scipys_away_from_the_border(window: int) -> None:
    maps = torch.rand(1, 1, 20, 23, dtype=torch.float64)
    ours = local_mean(maps, window)[0, 0].numpy()
    # an even window reaches one further to the right; scipy's reaches one further to the left
    theirs = uniform_filter(maps[0, 0].numpy(), window, origin=-1 if window % 2 == 0 else 0)
    inner = slice(window, -window)
    assert abs(ours - theirs)[inner, inner].max() < 1e-12


def test_at_the_border_the_window_is_moved_inwards() -> None:
    maps = torch.arange(10.0).view(1, 1, 1, 10)
    assert local_mean(maps, 5).flatten().tolist() == [2, 2, 2, 3, 4, 5, 6, 7, 7, 7]


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12))
def test_a_window_over_everything_is_the_global_mean(height: int, width: int) -> None:
    lq = torch.rand(1, 3, height, width, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.allclose(network(48)(lq), network(None)(lq), atol=1e-12)


def test_a_small_window_makes_a_difference() -> None:
    lq = torch.rand(1, 3, 40, 40, dtype=torch.float64)
    lq[..., :20] *= 0.1
    with torch.inference_mode():
        assert (network(8)(lq) - network(None)(lq)).abs().max() > 1e-4


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("window", [2, 4, 6, 8])
def test_the_output_depends_on_halo_pixels_around_it_and_no_more(window: int, scale: int) -> None:
    made = network(window, scale=scale)
    halo = made.halo
    assert halo is not None
    side = 2 * halo + 9
    side += side % 2
    reached = torch.zeros(side, dtype=torch.bool)
    centre = side // 2
    for lq_row in (centre, centre + 1):  # both places in a cell of the max-pool
        lq = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
        made(lq)[..., scale * lq_row : scale * (lq_row + 1), scale * centre : scale * (centre + 1)].sum().backward()
        assert lq.grad is not None
        rows = torch.nonzero(lq.grad[0].abs().sum((0, 2)) > 0).flatten()
        assert int(rows.min()) >= lq_row - halo
        assert int(rows.max()) <= lq_row + halo
        reached[rows - lq_row + centre] = True
    span = torch.nonzero(reached).flatten()
    assert max(centre - int(span.min()), int(span.max()) - centre) >= halo - 2  # not a careless bound


@pytest.mark.parametrize("size", [(61, 40), (96, 131)])
def test_tiles_with_the_halo_are_the_whole(size: tuple[int, int]) -> None:
    made = network(8)
    assert made.halo is not None
    lq = torch.rand(1, 3, *size, dtype=torch.float64)

    def whole(image: Tensor) -> Tensor:
        return tiling.whole(made, image, scale=2, multiple_of=2)

    with torch.inference_mode():
        tiles = tiling.tiled(made, lq, scale=2, tile=22, halo=made.halo, multiple_of=2)
        assert (tiles - whole(lq)).abs().max() < 1e-6  # the tiles' weights are float32


@pytest.mark.parametrize("kind", ["none", "second_order"])
def test_an_attention_without_a_mean_is_refused(kind: Attention) -> None:
    with pytest.raises(ValueError, match="window is 8"):
        network(8, kind)


@pytest.mark.parametrize("window", [0, 1, -4, 7])
def test_a_window_that_makes_no_sense_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match=f"window is {window}"):
        network(window)
