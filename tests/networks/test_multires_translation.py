import pytest
import torch
from torch import Tensor, nn

from restore.networks.multires_translation import Level, MultiResTranslation


def tiny(levels: int = 3, **settings: int) -> MultiResTranslation:
    torch.manual_seed(0)
    return MultiResTranslation(levels=levels, **{"width": 4, "blocks": 1} | settings)


def inputs(levels: int, height: int, width: int | None = None, channels: int = 3) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [torch.rand(2, channels, height >> r, (width or height) >> r, generator=random) for r in range(levels)]


def stirred(network: MultiResTranslation) -> MultiResTranslation:
    """With fusions that are no longer zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.1)
    return network


# --- the published size ---


def count(levels: int, width: int = 32) -> int:
    with torch.device("meta"):
        return sum(each.numel() for each in MultiResTranslation(levels=levels, width=width).parameters())


def test_the_default_network_has_the_parameters_and_the_work_counted_by_hand() -> None:
    c0, c1, c2, c3, c4 = 32, 64, 128, 256, 512
    blocks = 9 * 2 * 9 * c4 * c4
    trunk = 9 * (c2 * c3 + c3 * c4 + c4 * c3)
    own = 49 * 3 * (c0 + c1 + c2) + 9 * (c0 * c0 + c1 * c1 + c2 * c2)
    fusions = 9 * (c1 * c1 + c2 * c2) + 9 * (c0 * c1 + c1 * c2) + 9 * (c1 * c1 + c2 * c2)  # own, down, merge
    decoder = sum(9 * (below * c + 2 * c * c + c * c) for below, c in ((c3, c2), (c2, c1), (c1, c0)))
    heads = (49 * (c0 + c1 + c2) + 3) * 3
    assert count(3) == blocks + trunk + own + fusions + decoder + heads - 3 * 3 + 9
    assert count(3) / 1e6 == pytest.approx(46.8, rel=0.001)


def test_the_work_at_1024_pixels_is_442_gmac() -> None:
    with torch.device("meta"):
        network = MultiResTranslation()
    total = 0

    def add(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += out.numel() * module.in_channels * module.kernel_size[0] * module.kernel_size[1]

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(add)
    network.outputs([torch.empty(1, 3, 1024 >> r, 1024 >> r, device="meta") for r in range(3)])
    assert total / 1e9 == pytest.approx(442, abs=1)


def test_presets_are_as_large_as_they_say() -> None:
    assert [round(count(3, width) / 1e6, 1) for width in (16, 8)] == [11.7, 2.9]


# --- shapes ---


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [64, 128])
def test_n_inputs_give_n_outputs_of_their_sizes_and_one_in_use(levels: int, side: int) -> None:
    network = tiny(levels)
    given = inputs(levels, side, 2 * side)
    with torch.no_grad():
        outputs, used = network.outputs(given), network.highest(given)
    assert [each.shape for each in outputs] == [(2, 3, side >> r, 2 * side >> r) for r in range(levels)]
    assert torch.equal(used, outputs[0])
    assert all(each.min() >= 0 and each.max() <= 1 for each in outputs)


def test_the_smallest_size_works_and_maps_halve_two_times_below_the_lowest_level() -> None:
    network = tiny(3)
    side = 2 * network.multiple_of
    shapes = []
    network.trunk.blocks.register_forward_hook(lambda _, args, out: shapes.append(out.shape))
    assert network.outputs(inputs(3, side))[0].isfinite().all()
    assert shapes == [(2, 64, 2, 2)]


def test_contours_of_one_channel_come_in_and_photos_go_out() -> None:
    assert tiny(2, in_channels=1).outputs(inputs(2, 32, channels=1))[0].shape == (2, 3, 32, 32)


@pytest.mark.parametrize("name", ["levels", "width", "blocks", "in_channels"])
def test_bad_values_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0"):
        MultiResTranslation(**{name: 0})


# --- from coarse to fine ---


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_lower_outputs_are_the_same_at_the_moment_a_higher_level_is_inserted(levels: int) -> None:
    network, given = tiny(levels), inputs(levels, 64)
    for top in reversed(range(levels - 1)):
        with torch.no_grad():
            before, after = network.outputs(given, top + 1), network.outputs(given, top)
        assert len(after) == len(before) + 1
        assert all(torch.equal(one, other) for one, other in zip(before, after[1:], strict=True))


def test_a_trained_fusion_carries_what_comes_from_above_down() -> None:
    network, given = stirred(tiny(2)), inputs(2, 32)
    with torch.no_grad():
        assert not torch.equal(network.outputs(given, 1)[0], network.outputs(given, 0)[1])


def test_the_fusion_gets_a_gradient_although_it_begins_as_zero() -> None:
    network = tiny(2)
    network.outputs(inputs(2, 32))[1].sum().backward()
    level = network.levels[0]
    assert isinstance(level, Level)
    assert level.incoming is not None
    assert level.incoming.merge.weight.grad is not None
    assert level.incoming.merge.weight.grad.any()


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_every_parameter_belongs_to_exactly_one_level(levels: int) -> None:
    network = tiny(levels)
    owned = [p for r in range(levels) for module in network.modules_of(r) for p in module.parameters()]
    assert len({id(p) for p in owned}) == len(owned)
    assert {id(p) for p in owned} == {id(p) for p in network.parameters()}


def test_every_parameter_gets_a_gradient() -> None:
    network = stirred(tiny(3))
    torch.stack([each.square().sum() for each in network.outputs(inputs(3, 64))]).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_each_output_depends_on_its_own_head_alone() -> None:
    network = tiny(3)
    for level in range(3):
        network.zero_grad()
        network.outputs(inputs(3, 32))[level].sum().backward()
        heads = [each.head for each in network.levels if isinstance(each, Level)]
        assert [head.weight.grad is not None for head in heads] == [r == level for r in range(3)]


def test_the_output_depends_on_the_whole_image() -> None:
    network = tiny(2)
    given = inputs(2, 64)
    given[0].requires_grad_()
    network.outputs(given)[0][0, :, 0, 0].sum().backward()
    assert given[0].grad is not None
    assert given[0].grad[0, :, -1, -1].any()
