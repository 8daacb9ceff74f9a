import pytest
import scipy.ndimage
import torch

from restore.networks.kernel_gan import KernelDiscriminator, LinearGenerator


def test_the_generator_is_one_kernel() -> None:
    torch.manual_seed(0)
    generator = LinearGenerator(channels=8, scale=2).double()
    image = torch.rand(3, 1, 30, 41, dtype=torch.float64)
    kernel = generator.kernel().detach().numpy()
    assert kernel.shape == (13, 13)
    small = generator(image).detach()
    assert small.shape == (3, 1, 9, 15)
    for got, plane in zip(small, image, strict=True):
        expected = scipy.ndimage.correlate(plane[0].numpy(), kernel)[6:-6:2, 6:-6:2]
        assert got[0].numpy() == pytest.approx(expected, abs=1e-12)


def test_the_generator_has_the_papers_layers() -> None:
    shapes = [tuple(weight.shape) for weight in LinearGenerator().parameters()]
    one = (64, 64, 1, 1)
    assert shapes == [(64, 1, 7, 7), (64, 64, 5, 5), (64, 64, 3, 3), one, one, (1, 64, 1, 1)]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_discriminator_judges_patches_of_7(channels: int) -> None:
    discriminator = KernelDiscriminator(in_channels=channels).eval()
    image = torch.rand(1, channels, 20, 24)
    value = discriminator(image)
    assert value.shape == (1, 1, 14, 18)
    image[..., 0, 0] += 1  # seen by the first patch alone
    changed = (discriminator(image) - value).abs() > 1e-7
    assert changed.sum() == 1
    assert changed[0, 0, 0, 0]


@pytest.mark.parametrize("network", [LinearGenerator(), KernelDiscriminator()])
def test_every_parameter_gets_a_gradient(network: torch.nn.Module) -> None:
    channels = 1 if isinstance(network, LinearGenerator) else 3
    network(torch.rand(1, channels, 32, 32)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
