import pytest
import torch

from restore.networks.zssr import ZSSRNetwork


def test_the_network_has_the_parameters_counted_by_hand() -> None:
    network = ZSSRNetwork()
    assert sum(p.numel() for p in network.parameters()) == 262_019
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network.layers) == 9
    assert network.radius == 9


@pytest.mark.parametrize(("depth", "kernel_size", "radius"), [(8, 3, 9), (2, 3, 3), (3, 5, 8), (1, 1, 0)])
def test_the_radius_is_what_a_pixel_sees(depth: int, kernel_size: int, radius: int) -> None:
    torch.manual_seed(0)
    network = ZSSRNetwork(width=4, depth=depth, kernel_size=kernel_size).double()
    for layer in network.layers:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.uniform_(layer.weight, 0.01, 0.1)  # no ReLU closes
    image = torch.rand(1, 3, 41, 41, dtype=torch.float64, requires_grad=True)
    network(image)[..., 20, 20].sum().backward()
    assert image.grad is not None
    seen = torch.nonzero(image.grad[0, 0]).amin(0), torch.nonzero(image.grad[0, 0]).amax(0)
    assert network.radius == radius
    assert seen[0].tolist() == [20 - radius] * 2
    assert seen[1].tolist() == [20 + radius] * 2


def test_training_starts_near_the_interpolated_image() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        added = ZSSRNetwork()(image) - image
    assert 1e-4 < added.std() < 0.2


def test_interpolate_only_adds_nothing() -> None:
    network = ZSSRNetwork(width=4)
    network.interpolate_only()
    image = torch.rand(1, 3, 9, 9)
    assert torch.equal(network(image), image)


@pytest.mark.parametrize(
    ("setting", "value"), [("channels", 2), ("width", 0), ("depth", 0), ("kernel_size", 4), ("kernel_size", 0)]
)
def test_bad_values_are_named(setting: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{setting} is {value}"):
        ZSSRNetwork(**{setting: value})
