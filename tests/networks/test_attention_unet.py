import weakref
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from restore.networks.attention_unet import (
    Attention,
    AttentionModule,
    AttentionUNet,
    ChannelAttention,
    SpatialAttention,
)
from restore.ops import tiling

KINDS = get_args(Attention)


def tiny(**settings: Any) -> AttentionUNet:
    torch.manual_seed(0)
    return AttentionUNet(**{"width": 4, "modules": 1} | settings)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def outputs_of(network: nn.Module) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _, args, out, name=name: seen.update({name: out, f"{name} in": args[0]}))
    return seen


# --- the published size ---


def test_the_published_network_has_the_parameters_and_the_work_counted_by_hand() -> None:
    with torch.device("meta"):
        network = AttentionUNet()
        work = 0

        def multiply(module: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
            nonlocal work
            assert isinstance(module, nn.Conv2d)
            work += out.numel() * module.in_channels * module.kernel_size[0] * module.kernel_size[1]

        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(multiply)
        network(torch.empty(1, 3, 256, 256))
    assert count(network) == 7_117_597
    assert work / 1e9 == pytest.approx(72.8, abs=0.05)


def test_every_layer_has_the_shape_of_the_description() -> None:
    with torch.device("meta"):
        network = AttentionUNet()
        seen = outputs_of(network)
        network(torch.empty(1, 3, 256, 256))
    shapes = {
        "conv1": (32, 256, 256),
        "a1": (32, 256, 256),
        "conv2": (64, 128, 128),
        "a2": (64, 128, 128),
        "conv3": (128, 64, 64),
        "a3": (128, 64, 64),
        "a4": (128, 64, 64),
        "conv4": (64, 128, 128),
        "a5.0 in": (128, 128, 128),
        "a5.0": (64, 128, 128),
        "a5.2": (64, 128, 128),
        "conv5": (32, 256, 256),
        "a6.0 in": (64, 256, 256),
        "a6.0": (32, 256, 256),
        "a6.2": (32, 256, 256),
        "conv6": (3, 256, 256),
    }
    assert {name: tuple(seen[name].shape[1:]) for name in shapes} == shapes
    for level in ("a1", "a2", "a3", "a4", "a5", "a6"):
        for k in range(3):
            weight = seen[f"{level}.{k}.spatial"]
            assert weight.shape[1] == 1
            assert weight.shape[2:] == seen[f"{level}.{k}"].shape[2:]


def test_all_convolutions_are_five_by_five_but_attention_and_projections() -> None:
    with torch.device("meta"):
        network = AttentionUNet()
    convolutions = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    small = [name for name, m in convolutions.items() if m.kernel_size == (1, 1)]
    assert all(".spatial." in name or name in ("a5.0.skip", "a6.0.skip") for name in small)
    assert {(m.kernel_size, m.padding) for name, m in convolutions.items() if name not in small} == {((5, 5), (2, 2))}
    assert [name for name, m in convolutions.items() if m.stride == (2, 2)] == ["conv2", "conv3"]
    assert sum(isinstance(m, AttentionModule) for m in network.modules()) == 18
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())


def test_skips_concatenate_the_encoders_maps_before_the_decoders() -> None:
    network = tiny(modules=2)
    seen = outputs_of(network)
    network(torch.rand(1, 3, 8, 12))
    for encoder, conv, decoder in (("a2", "conv4", "a5.0"), ("a1", "conv5", "a6.0")):
        merged = torch.cat([seen[encoder], seen[conv].relu()], 1)
        assert torch.equal(seen[f"{decoder} in"], merged)


def test_large_maps_are_freed_when_they_are_no_longer_needed() -> None:
    network, seen = tiny(modules=2).eval(), dict[str, weakref.ref[Tensor]]()
    alive: dict[str, bool] = {}
    network.a1.register_forward_hook(lambda _, args, out: seen.update(skip=weakref.ref(out)))
    network.a6[0].register_forward_pre_hook(
        lambda _, args: seen.update(joined=weakref.ref(args[0])) or alive.update(skip=seen["skip"]() is not None)
    )
    network.conv6.register_forward_pre_hook(lambda _, args: alive.update(joined=seen["joined"]() is not None))
    with torch.inference_mode():
        network(torch.rand(1, 3, 16, 16))
    assert alive == {"skip": False, "joined": False}


def test_a_relu_follows_conv_1_to_5_and_none_conv_6() -> None:
    network = tiny()
    seen = outputs_of(network)
    pred = network(torch.rand(1, 3, 16, 16))
    for name in ("a1.0 in", "a2.0 in", "a3.0 in"):
        assert seen[name].min() == 0
    assert torch.equal(pred, seen["conv6"])
    assert pred.min() < 0


def test_weights_begin_as_xavier_says_and_biases_at_zero() -> None:
    network = tiny(width=16)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is not None
            assert module.bias.abs().max() == 0
            bound = (6 / (module.weight[0].numel() * (1 + module.out_channels / module.in_channels))) ** 0.5
            assert module.weight.abs().max() <= bound
            assert module.kernel_size == (1, 1) or module.weight.abs().max() > 0.9 * bound


# --- modules ---


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 7)])
@pytest.mark.parametrize("channels", [4, 32])
def test_the_spatial_weight_is_one_number_per_position(channels: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    weight = SpatialAttention(channels)(torch.randn(2, channels, *size))
    assert weight.shape == (2, 1, *size)
    assert 0 < float(weight.min().detach()) <= float(weight.max().detach()) < 1
    if min(size) > 1:
        assert weight.std() > 0


def test_the_channel_weight_is_one_number_per_channel() -> None:
    weight = ChannelAttention(32)(torch.randn(2, 32, 5, 7))
    assert weight.shape == (2, 32, 1, 1)
    assert 0 < float(weight.min().detach()) <= float(weight.max().detach()) < 1


@pytest.mark.parametrize(
    ("width", "squeeze", "hidden"), [(16, 16, [1, 2, 4]), (16, 2, [8, 16, 32]), (4, 16, [1, 1, 1])]
)
def test_the_squeeze_says_how_many_hidden_features_an_attention_module_has(
    width: int, squeeze: int, hidden: list[int]
) -> None:
    network = tiny(width=width, squeeze=squeeze, attention="channel_spatial")
    for kind in (SpatialAttention, ChannelAttention):
        found = [module.conv1.out_channels for module in network.modules() if isinstance(module, kind)]
        assert found == hidden + hidden[::-1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inputs", [4, 6])
def test_a_module_is_two_convolutions_weighted_plus_its_input(kind: Attention, inputs: int) -> None:
    torch.manual_seed(0)
    module = AttentionModule(inputs, 4, kind).double()
    x = torch.randn(1, inputs, 6, 5, dtype=torch.float64)
    branch = module.conv2(module.conv1(x).relu())
    if module.channel is not None:
        branch = branch * module.channel(branch)
    if module.spatial is not None:
        branch = branch * module.spatial(branch)
    assert (module.channel is not None) == (kind == "channel_spatial")
    assert (module.spatial is None) == (kind == "none")
    assert isinstance(module.skip, nn.Conv2d) == (inputs == 6)
    assert torch.allclose(module(x), branch + module.skip(x), atol=1e-12)


# --- reach ---


def farthest_pixel(network: AttentionUNet, length: int) -> int:
    """How far the input pixels lie that four neighbouring outputs depend on, by their gradients."""
    for parameter in network.parameters():  # nothing may cancel, and no ReLU be shut
        nn.init.uniform_(parameter, 0.1, 0.3)
    lq = torch.rand(1, 3, 4, length, dtype=torch.float64, requires_grad=True)
    farthest = 0
    for position in range(length // 8 * 4, length // 8 * 4 + 4):
        (gradient,) = torch.autograd.grad(network(lq)[0, :, 1, position].sum(), lq)
        reached = gradient[0].abs().sum((0, 1)).nonzero().flatten()
        farthest = max(farthest, position - int(reached.min()), int(reached.max()) - position)
    return farthest


@pytest.mark.parametrize(("modules", "halo"), [(1, 78), (2, 134), (3, 190)])
@pytest.mark.parametrize("kind", ["spatial", "none"])
def test_the_halo_is_exactly_the_receptive_radius(kind: Attention, modules: int, halo: int) -> None:
    network = tiny(width=1, modules=modules, attention=kind).double()
    assert network.halo == halo
    assert farthest_pixel(network, 2 * halo + 24) == halo


def test_channel_attention_sees_the_whole_image_and_has_no_halo() -> None:
    network = tiny(width=1, attention="channel_spatial").double()
    assert network.halo is None
    assert farthest_pixel(network, 240) > 110


@pytest.mark.parametrize("kind", ["spatial", "none"])
def test_tiles_give_the_whole_image(kind: Attention) -> None:
    tile = 50  # not a multiple of 4
    network = tiny(width=8, attention=kind, global_residual=False).eval()
    assert network.halo is not None
    lq = torch.rand(1, 3, 201, 303)
    with torch.inference_mode():
        whole = tiling.whole(network, lq, scale=1, multiple_of=4)
        tiled = tiling.tiled(network, lq, scale=1, tile=tile, halo=network.halo, multiple_of=4)
    assert tiled.shape == lq.shape
    assert (tiled - whole).abs().max() < 1e-5
    short = tiling.tiled(network, lq, scale=1, tile=tile, halo=16, multiple_of=4)
    assert (short - whole).abs().max() > 1e-5


# --- sizes, gradients, batches ---


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 18), width=st.integers(1, 18))
def test_any_size_is_kept(kind: Attention, height: int, width: int) -> None:
    network = tiny(attention=kind)
    with torch.inference_mode():
        pred = tiling.whole(network, torch.rand(1, 3, height, width), scale=1, multiple_of=network.multiple_of)
    assert pred.shape == (1, 3, height, width)
    assert torch.isfinite(pred).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind: Attention) -> None:
    network = tiny(attention=kind, width=16, modules=2)
    for module in network.modules():
        if isinstance(module, SpatialAttention | ChannelAttention):
            nn.init.uniform_(module.conv1.weight, 0, 0.01)  # a squeeze of few channels may be shut
            nn.init.ones_(module.conv1.bias)  # type: ignore[arg-type]
    network(torch.rand(2, 3, 8, 12)).abs().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_restored_alike_alone_and_in_a_batch(kind: Attention) -> None:
    network = tiny(attention=kind).eval()
    images = torch.rand(3, 3, 8, 12) * torch.tensor([0.1, 1, 3]).view(3, 1, 1, 1)
    with torch.inference_mode():
        together = network(images)
        for image, pred in zip(images, together, strict=True):
            assert (network(image[None])[0] - pred).abs().max() < 1e-5


def test_with_the_global_residual_a_training_starts_at_its_input() -> None:
    network = tiny(global_residual=True)
    lq = torch.rand(1, 3, 8, 8)
    assert torch.equal(network(lq), lq)
    assert count(network) == count(tiny())


def test_it_runs_in_channels_last_without_changing_the_layout() -> None:
    network = tiny().to(memory_format=torch.channels_last).eval()
    seen = outputs_of(network)
    with torch.inference_mode():
        network(torch.rand(1, 3, 16, 16).contiguous(memory_format=torch.channels_last))
    assert all(seen[name].is_contiguous(memory_format=torch.channels_last) for name in ("a1", "a4", "a5.0 in", "a6.0"))


@pytest.mark.parametrize(("setting", "value"), [("attention", "gain"), ("width", 0), ("modules", 0), ("squeeze", 0)])
def test_a_bad_setting_is_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{setting} is {value}"):
        tiny(**{setting: value})
