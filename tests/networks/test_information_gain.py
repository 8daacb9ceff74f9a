from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from restore.networks import linear_end
from restore.networks.attention_generator import AttentionGenerator
from restore.networks.information_gain import (
    DIV2K_MEAN,
    Attention,
    InformationGainNetwork,
    ResidualBlock,
    ResidualGroup,
    Upsampler,
)
from restore.ops import row_bands
from restore.ops.resize import resize

KINDS = get_args(Attention)


def tiny(**settings: Any) -> InformationGainNetwork:
    torch.manual_seed(0)
    return InformationGainNetwork(**{"groups": 2, "blocks": 2, "channels": 8} | settings)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def inputs_of(module: nn.Module) -> list[Tensor]:
    seen: list[Tensor] = []
    module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    return seen


# --- the published size ---


@pytest.mark.parametrize(("scale", "parameters"), [(2, 16_142_315), (3, 16_326_955), (4, 16_290_027), (8, 16_437_739)])
def test_the_published_network_has_the_parameters_counted_by_hand(scale: int, parameters: int) -> None:
    with torch.device("meta"):
        network = InformationGainNetwork(scale=scale)
    assert count(network) == parameters
    assert len(network.groups) == 20
    assert {count(group) for group in network.groups} == {799_554}
    assert all(sum(isinstance(m, ResidualBlock) for m in group.modules()) == 10 for group in network.groups)
    assert {count(m) for m in network.modules() if isinstance(m, AttentionGenerator)} == {24_066}


def test_each_group_has_one_attention_module_unless_there_is_none() -> None:
    for kind in KINDS:
        modules = [group.attention for group in tiny(attention=kind).groups]
        assert all((module is None) == (kind == "none") for module in modules)
        assert len({id(module) for module in modules if module is not None}) == (0 if kind == "none" else 2)


def test_the_order_is_conv_groups_subpixel_conv() -> None:
    network = tiny(scale=4)
    order: list[str] = []
    for name, module in [("head", network.head), ("upsampler", network.upsampler), ("tail", network.tail)]:
        module.register_forward_hook(lambda *_, name=name: order.append(name))
    for group in network.groups:
        group.register_forward_hook(lambda *_: order.append("group"))
    network(torch.rand(1, 3, 5, 6))
    assert order == ["head", "group", "group", "upsampler", "tail"]
    assert [type(layer) for layer in network.upsampler] == [nn.Conv2d, nn.PixelShuffle] * 2
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


@pytest.mark.parametrize(("scale", "factors"), [(2, [2]), (3, [3]), (4, [2, 2]), (8, [2, 2, 2])])
def test_the_upsampler_shuffles_in_small_steps(scale: int, factors: list[int]) -> None:
    upsampler = Upsampler(scale, 8)
    assert [layer.upscale_factor for layer in upsampler if isinstance(layer, nn.PixelShuffle)] == factors
    assert upsampler(torch.rand(1, 8, 3, 5)).shape == (1, 8, 3 * scale, 5 * scale)


# --- sizes, gradients, batches ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@settings(max_examples=10, deadline=None)
@given(height=st.integers(1, 14), width=st.integers(1, 14))
def test_any_size_is_enlarged_exactly(scale: int, kind: Attention, height: int, width: int) -> None:
    network = tiny(scale=scale, attention=kind, groups=1, blocks=1, image_skip="bicubic")
    with torch.inference_mode():
        pred = network(torch.rand(1, 3, height, width))
    assert pred.shape == (1, 3, scale * height, scale * width)
    assert torch.isfinite(pred).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 17), (17, 1), (2, 3)])
@pytest.mark.parametrize("image_skip", ["bicubic", "none"])
def test_the_smallest_sizes_work(kind: Attention, size: tuple[int, int], image_skip: str) -> None:
    pred = tiny(scale=3, attention=kind, image_skip=image_skip)(torch.rand(2, 3, *size))
    assert pred.shape == (2, 3, 3 * size[0], 3 * size[1])
    assert torch.isfinite(pred).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("image_skip", ["bicubic", "none"])
def test_every_parameter_gets_a_gradient(kind: Attention, image_skip: str) -> None:
    network = tiny(scale=4, attention=kind, image_skip=image_skip, channels=32)
    network(torch.rand(2, 3, 9, 7)).abs().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_a_flat_patch_are_finite(kind: Attention) -> None:
    network = tiny(attention=kind)
    network(torch.full((1, 3, 6, 6), 0.5)).mean().backward()
    network(torch.full((1, 3, 1, 1), 0.5)).mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_restored_alike_alone_and_in_a_batch(kind: Attention) -> None:
    network = tiny(attention=kind).eval()
    images = torch.rand(3, 3, 10, 11) * torch.tensor([0.1, 1, 3]).view(3, 1, 1, 1)
    with torch.inference_mode():
        together = network(images)
        for image, pred in zip(images, together, strict=True):
            assert (network(image[None])[0] - pred).abs().max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_evaluation_mode_agree(kind: Attention) -> None:
    network = tiny(attention=kind)
    lq = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        assert torch.equal(network.train()(lq), network.eval()(lq))


def test_the_output_is_not_clamped() -> None:
    network = tiny()
    with torch.no_grad():
        assert network.tail.bias is not None
        network.tail.bias.copy_(torch.tensor([3.0, 0, -3]))
        pred = network(torch.rand(1, 3, 6, 6))
    assert pred[:, 0].min() > 1
    assert pred[:, 2].max() < 0


def test_weights_fit_the_network_of_the_other_attention() -> None:
    tiny(attention="self").load_state_dict(tiny(attention="gain").state_dict())


# --- the gain ---


@pytest.mark.parametrize("blocks", [1, 3, 10])
def test_the_gain_is_the_sum_of_the_residual_branches(blocks: int) -> None:
    torch.manual_seed(0)
    group = ResidualGroup(8, blocks, "gain").double()
    assert group.attention is not None
    seen = inputs_of(group.attention)
    branches: list[Tensor] = []
    x = original = torch.randn(2, 8, 7, 9, dtype=torch.float64)
    for block in group.blocks:
        assert isinstance(block, ResidualBlock)
        branches.append(block.branch(x))
        x = block(x)
    group(original)
    assert len(seen) == 1
    assert torch.allclose(seen[0], torch.stack(branches).sum(0), atol=1e-12)
    assert torch.allclose(seen[0], x - original, atol=1e-12)


@pytest.mark.parametrize("kind", ["gain", "self"])
def test_a_group_weights_its_current_features_closes_and_adds_its_input(kind: Attention) -> None:
    torch.manual_seed(0)
    group = ResidualGroup(8, 2, kind).double()
    attention = group.attention
    assert isinstance(attention, AttentionGenerator)
    original = torch.randn(1, 8, 6, 5, dtype=torch.float64)
    current = original
    for block in group.blocks:
        current = block(current)
    fed = current - original if kind == "gain" else current
    expected = group.close(current * attention(fed)) + original
    assert torch.allclose(group(original), expected, atol=1e-12)


def test_gain_and_self_differ_only_in_what_the_module_is_fed() -> None:
    torch.manual_seed(0)
    gain, own = ResidualGroup(8, 2, "gain").double(), ResidualGroup(8, 2, "self").double()
    own.load_state_dict(gain.state_dict())
    assert isinstance(gain.attention, AttentionGenerator)
    assert isinstance(own.attention, AttentionGenerator)
    fed_gain, fed_own = inputs_of(gain.attention), inputs_of(own.attention)
    original = torch.randn(1, 8, 6, 5, dtype=torch.float64)
    assert not torch.allclose(gain(original), own(original))
    assert torch.allclose(fed_own[0] - fed_gain[0], original, atol=1e-12)
    # with the module's answer held still the two groups are the same function
    for attention in (gain.attention, own.attention):
        attention.register_forward_hook(lambda module, args, output: torch.full_like(output, 0.25))
    assert torch.equal(gain(original), own(original))


def test_without_attention_a_group_is_a_plain_residual_group() -> None:
    torch.manual_seed(0)
    group = ResidualGroup(8, 2, "none").double()
    original = torch.randn(1, 8, 6, 5, dtype=torch.float64)
    assert torch.allclose(group(original), group.close(group.blocks[1](group.blocks[0](original))) + original)


def test_a_block_is_conv_relu_conv_plus_its_input() -> None:
    block = ResidualBlock(4).double()
    x = torch.randn(1, 4, 5, 6, dtype=torch.float64)
    weights = [(conv.weight, conv.bias) for conv in (block.conv1, block.conv2)]
    hidden = torch.conv2d(x, *weights[0], padding=1).clamp(min=0)
    assert torch.allclose(block(x), torch.conv2d(hidden, *weights[1], padding=1) + x, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 8])
def test_without_gradients_the_end_is_computed_in_bands_and_is_the_same(scale: int) -> None:
    network = tiny(scale=scale, image_skip="none").eval()
    seen = inputs_of(network.upsampler)
    lq = torch.rand(1, 3, 37, 5)
    with torch.no_grad():
        in_bands = network(lq)
    assert [each.shape[-2] for each in seen] == [18, 20, 7]  # 16 rows, and two around them
    assert torch.allclose(in_bands, network(lq), atol=1e-6)
    assert torch.allclose(in_bands, network.traceable()(lq), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_image_is_computed_in_bands_and_is_the_same(kind: Attention, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_bands, "LEAST_BYTES", 0)
    monkeypatch.setattr(row_bands, "TRIED", (4096, 8192))
    monkeypatch.setattr(linear_end, "WORTH", 0)
    row_bands._trials.cache_clear()
    network = tiny(attention=kind).eval()
    lq = torch.rand(1, 3, 37, 15)
    with torch.no_grad():
        in_bands = network(lq)
    assert torch.allclose(in_bands, network(lq), atol=1e-6)
    if kind in ("gain", "self"):
        network.pool_locally(6)
        with torch.no_grad():
            in_bands = network(lq)
        assert torch.allclose(in_bands, network(lq), atol=1e-6)
    row_bands._trials.cache_clear()


def test_features_are_the_maps_the_prediction_is_made_of() -> None:
    network = tiny(groups=3).eval()
    seen = inputs_of(network.upsampler)
    lq = torch.rand(1, 3, 6, 7)
    network(lq)
    maps = network.features(lq)
    assert len(maps) == 4
    assert torch.equal(maps[0] + maps[-1], seen[0])


# --- the attention generator ---


@pytest.mark.parametrize("size", [(13, 9), (8, 8), (3, 2), (48, 48)])
def test_the_spatial_size_falls_at_every_stage(size: tuple[int, int]) -> None:
    generator = AttentionGenerator(16)
    shapes: list[tuple[str, torch.Size]] = []
    for stage in [*generator.stages, generator.pool]:
        stage.register_forward_hook(lambda module, _, out: shapes.append((type(module).__name__, out.shape)))
    x = torch.rand(1, 16, *size)
    generator(x)
    assert [name for name, _ in shapes] == ["Conv2d", "PReLU", "HalvingMaxPool", "Conv2d", "PReLU", "AdaptiveAvgPool2d"]
    half = (-(-size[0] // 2), -(-size[1] // 2))
    assert [tuple(shape[1:]) for name, shape in shapes if name != "PReLU"] == [
        (8, *size),
        (8, *half),
        (4, *half),
        (4, 1, 1),
    ]
    areas = [x[0, 0].numel(), *(shape[2] * shape[3] for name, shape in shapes if "Pool" in name)]
    assert areas[0] > areas[1] > areas[2] == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (10, 12)])
@pytest.mark.parametrize("channels", [4, 8, 64])
def test_there_is_one_weight_per_channel_between_zero_and_one(channels: int, size: tuple[int, int]) -> None:
    weight = AttentionGenerator(channels)(3 * torch.randn(2, channels, *size))
    assert weight.shape == (2, channels, 1, 1)
    assert 0 < float(weight.min().detach()) <= float(weight.max().detach()) < 1


def test_the_squash_is_a_sigmoid_so_no_gain_means_one_half() -> None:
    weight = AttentionGenerator(8)(torch.zeros(1, 8, 5, 5))  # nothing in the generator has a bias
    assert torch.equal(weight, torch.full((1, 8, 1, 1), 0.5))


# --- skips ---


def still(network: InformationGainNetwork) -> InformationGainNetwork:
    with torch.no_grad():
        for parameter in network.tail.parameters():
            parameter.zero_()
    return network


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_image_skip_is_the_benchmarks_bicubic_away_from_the_border(scale: int) -> None:
    lq = torch.rand(1, 3, 12, 13)
    with torch.inference_mode():
        pred = still(tiny(scale=scale, image_skip="bicubic"))(lq)
    inner = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
    assert torch.allclose(pred[inner], resize(lq, scale)[inner], atol=1e-5)


def test_without_an_image_skip_the_mean_colour_is_put_back() -> None:
    with torch.inference_mode():
        pred = still(tiny())(torch.rand(1, 3, 5, 5))
    assert torch.allclose(pred, torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1).expand_as(pred))


def test_the_head_sees_the_image_less_its_mean() -> None:
    network = tiny()
    seen = inputs_of(network.head)
    network(torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1).expand(1, 3, 4, 4))
    assert seen[0].abs().max() < 1e-7
    assert "mean" in network.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_network_without_global_statistics_has_a_halo(kind: Attention) -> None:
    assert (tiny(attention=kind).halo is None) == (kind != "none")


# --- refusals ---


@pytest.mark.parametrize("scale", [0, 1, 5, 6, 16, -2])
def test_a_scale_it_does_not_know_is_refused(scale: int) -> None:
    with pytest.raises(ValueError, match=f"scale is {scale}"):
        tiny(scale=scale)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("attention", "gian"),
        ("image_skip", "bilinear"),
        ("channels", 0),
        ("channels", 6),
        ("channels", 30),
        ("groups", 0),
        ("blocks", 0),
    ],
)
def test_a_bad_setting_is_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{setting} is {value}"):
        tiny(**{setting: value})
