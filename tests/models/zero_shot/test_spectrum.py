import pytest
import torch

from restore.models.zero_shot import spectrum
from restore.models.zero_shot.kernel_estimation import estimate_kernel
from restore.ops.blur_kernels import gaussian_kernel, shrink, widths
from restore.ops.resize import resize
from tests.models.zero_shot.test_kernel_estimation import eight_bit, photo


@pytest.mark.parametrize(
    ("name", "radius", "scale"),
    [("astronaut", 2.8, 2), ("chelsea", 2.8, 2), ("chelsea", 3.6, 2), ("coffee", 3.6, 2), ("astronaut", 4.4, 3)],
)
def test_a_disk_is_found_with_its_radius(name: str, radius: float, scale: int) -> None:
    lq = eight_bit(shrink(photo(name, 288), spectrum.disk(radius), scale))
    found = spectrum.blur_of(lq, scale)
    assert any(torch.equal(found.kernel, spectrum.disk(each)) for each in spectrum.RADII)
    assert found.deviations[0] == pytest.approx(widths(spectrum.disk(radius))[0], abs=0.1)
    kernel = estimate_kernel(lq, scale, steps=0, seed=0)
    assert widths(kernel) == pytest.approx(found.deviations, abs=0.01)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
@pytest.mark.parametrize("sigmas", [None, (1.5, 1.5), (2.4, 1.2)])
def test_no_disk_is_found_where_there_is_none(name: str, sigmas: tuple[float, float] | None) -> None:
    gt = photo(name, 288)
    lq = resize(gt, 0.5) if sigmas is None else shrink(gt, gaussian_kernel(*sigmas, 0.4, 21), 2)
    found = spectrum.blur_of(eight_bit(lq), 2).kernel
    assert not any(torch.equal(found, spectrum.disk(each)) for each in spectrum.RADII)


def test_a_disk_passes_what_its_fourier_transform_says() -> None:
    kernel = spectrum.disk(3.0)
    frequency = torch.stack(torch.meshgrid(*2 * [2 * torch.pi * torch.fft.fftfreq(32).double()], indexing="ij"))
    expected = torch.fft.fft2(kernel, (32, 32)).abs().square().flatten()
    passed = spectrum._passed(kernel, frequency.flatten(1)[None])[0].exp()
    assert torch.allclose(passed, expected.clamp_min(spectrum.LEAST_POWER), rtol=1e-6)


@pytest.mark.parametrize(("side", "least", "expected"), [(5, 13, 13), (13, 13, 13), (15, 13, 15)])
def test_padding_keeps_a_kernel_in_the_middle(side: int, least: int, expected: int) -> None:
    kernel = torch.rand(side, side, dtype=torch.float64)
    made = spectrum.padded(kernel, least)
    edge = (expected - side) // 2
    assert made.shape == (expected, expected)
    assert torch.equal(made[edge : edge + side, edge : edge + side], kernel)
    assert float(made.sum()) == pytest.approx(float(kernel.sum()))
