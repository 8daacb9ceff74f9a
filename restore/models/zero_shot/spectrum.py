"""The blur that an image's spectrum shows: a Gaussian, or a disk, as of a lens out of focus.

Without blur, power falls as a power of the frequency, the same at every scale, with a strength that depends on the
direction; a faster fall is due to blur. A disk removes rings of frequencies, by which it is told from a Gaussian.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from restore.ops.blur_kernels import widths

WINDOW = 256  # pixels; side of the windows whose spectra are averaged
# Calibrated on 25 BSDS training photos, which are sharp and were not downscaled
FALL = 2.1  # power falls as frequency to the power -FALL
LENS = 0.15  # px^2; variance of the blur that even sharp photos have
RADII = [1.5 + k / 4 for k in range(15)]  # of disks, in px at the finer scale
# The disk of eight BSDS photos (experiments.zero_shot.unknown) is more likely than a Gaussian by 424 to 5678 nats on
# seven, and less likely on one; on the same photos otherwise damaged it is more likely by at most 7. A square as a
# third shape was tried: it was found on two of eight photos saved as JPEG that had none.
CLEARLY = 200.0  # nats by which a disk must be more likely than the Gaussian
LEAST_POWER = 1e-6  # that a kernel lets pass, for the logarithm

Blur = Callable[[Tensor], Tensor]  # parameters -> log of the power that the blur lets pass, (aliases, n)


class Found(NamedTuple):
    """A blur: its kernel, float64 (odd, odd), sums to 1; and its standard deviations in px, the larger first."""

    kernel: Tensor
    deviations: tuple[float, float]


class _Spectrum:
    """Power of an image, and the frequencies that it comes from.

    Attributes:
        power: (n,). frequency: rad / px of the image, (2, n; y, x). finer: rad / px at the finer scale, of the
            frequencies that downscaling aliases onto each one, (aliases, 2, n).
    """

    def __init__(self, image: Tensor, scale: int) -> None:
        self.scale = scale
        self.power, self.frequency = _power(image)
        turn = 2 * math.pi * torch.cartesian_prod(*2 * [torch.arange(scale, dtype=torch.float64) - (scale - 1) // 2])
        away = turn[:, :, None] * torch.where(self.frequency > 0, -1.0, 1.0)
        self.finer = (self.frequency + away) / scale


def _power(image: Tensor) -> tuple[Tensor, Tensor]:
    """Power and frequencies (rad / px; y, x) of the grey image, averaged over windows: (n,) and (2, n)."""
    grey = image.mean(0).double().cpu()
    sides = [min(WINDOW, side) for side in grey.shape]
    pieces = grey.unfold(0, sides[0], max(1, sides[0] // 2)).unfold(1, sides[1], max(1, sides[1] // 2)).flatten(0, 1)
    taper = torch.outer(*(torch.hann_window(side, periodic=False, dtype=torch.float64) for side in sides))
    pieces = (pieces - (pieces * taper).sum((1, 2), keepdim=True) / taper.sum()) * taper
    power = torch.fft.fft2(pieces).abs().square().mean(0) / taper.square().sum()
    axes = [2 * math.pi * torch.fft.fftfreq(side, dtype=torch.float64) for side in sides]
    frequency = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
    # half the plane suffices, by symmetry; the lowest frequencies are due to the taper and the illumination
    used = (frequency.norm(dim=0) > 0.1) & (frequency[0] >= 0)
    return power.flatten()[used], frequency[:, used]


def blur_of(image: Tensor, scale: int) -> Found:
    """The blur before downscaling that explains an image's spectrum best; a disk only if it is clearly better.

    Args:
        image: float, (C, H, W). scale: ratio of the finer pixels, in which the kernel is measured.
    """
    spectrum = _Spectrum(image, scale)
    cost, covariance = _fitted_gaussian(spectrum)
    short, long = torch.linalg.eigvalsh(covariance).sqrt().tolist()
    least, found = cost - CLEARLY, Found(gaussian(covariance), (long, short))
    for kernel in map(disk, RADII):
        cost = _cost_of(kernel, spectrum)
        if cost < least:
            least, found = cost, Found(kernel, widths(kernel))
    return found


def _cost_of(kernel: Tensor, spectrum: _Spectrum) -> float:
    """The cost in nats of a blur without parameters."""
    passed = _passed(kernel, spectrum.finer)
    return _minimise(spectrum, lambda _: passed, torch.zeros(0))[0]


def _fitted_gaussian(spectrum: _Spectrum) -> tuple[float, Tensor]:
    """The cost in nats, and the covariance (2, 2; y, x; px^2 at the finer scale)."""
    usual = math.log(0.6 * spectrum.scale)

    def blur(values: Tensor) -> Tensor:
        return -torch.einsum("ij,fin->fjn", _root(values), spectrum.finer).square().sum(1)

    def prior(values: Tensor) -> Tensor:
        return (_root(values).diagonal().log() - usual).square().sum() / 2000

    cost, values = _minimise(spectrum, blur, torch.tensor([usual, 0, usual]).double(), prior)
    root = _root(values)
    return cost, root @ root.T


def _minimise(
    spectrum: _Spectrum, blur: Blur, start: Tensor, prior: Callable[[Tensor], Tensor] | None = None
) -> tuple[float, Tensor]:
    """Maximum likelihood of independent exponential powers (Whittle).

    The expected power at a frequency is the sum over the finer frequencies aliased onto it, of strength(direction) *
    frequency^-fall * blur, plus noise.

    Args:
        blur: of its parameters. start: of them, (k,). prior: of them, added to the cost per frequency.

    Returns:
        The cost in nats, and the blur's parameters.
    """
    power, (y, x) = spectrum.power, spectrum.finer.unbind(1)
    radius, angle = (y**2 + x**2).log() / 2, torch.atan2(y, x)
    waves = torch.stack([wave(n * angle) for n in (2, 4) for wave in (torch.cos, torch.sin)])
    level = math.log(float((power * spectrum.frequency.norm(dim=0) ** FALL).mean()))
    values = torch.cat([torch.tensor([level, FALL]), start, torch.tensor([-14, 0, 0, 0, 0])]).double().requires_grad_()
    end = 2 + len(start)

    def cost() -> Tensor:
        level, fall, own, noise, strength = values[0], values[1], values[2:end], values[end], values[end + 1 :]
        logs = level - fall * radius + blur(own) - LENS * (y**2 + x**2) + torch.einsum("w,wfn->fn", strength, waves)
        expected = logs.logsumexp(0).exp() + noise.exp()
        # the priors weigh as much as about a hundred frequencies each
        priors = ((fall - FALL) / 0.15) ** 2 / 200 + strength.square().sum() / 2000
        priors = priors if prior is None else priors + prior(own)
        return (expected.log() + power / expected).mean() + priors

    optimiser = torch.optim.LBFGS([values], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        error = cost()
        torch.autograd.backward(error)
        return float(error.detach())

    optimiser.step(closure)
    return float(cost().detach()) * len(power), values.detach()[2:end]


def _root(values: Tensor) -> Tensor:
    """Lower triangular root of a covariance, from three unconstrained numbers."""
    zero = torch.zeros_like(values[0])
    return torch.stack([values[0].exp(), zero, values[1], values[2].exp()]).view(2, 2)


def _passed(kernel: Tensor, frequency: Tensor) -> Tensor:
    """Log of the power that a kernel lets pass at frequencies (aliases, 2, n): (aliases, n)."""
    offset = torch.arange(len(kernel), dtype=torch.float64) - len(kernel) // 2
    rows, columns = (torch.polar(torch.ones_like(wave), wave) for wave in (frequency[..., None] * offset).unbind(1))
    passed = torch.einsum("fni,ij,fnj->fn", rows, kernel.to(rows.dtype), columns)
    return passed.abs().square().clamp_min(LEAST_POWER).log()


# --- kernels -----------------------------------------------------------------------------------------------------


def gaussian(covariance: Tensor, least: int = 3) -> Tensor:
    """Gaussian kernel of odd side, at least three sigma to each side: (side, side), sums to 1."""
    reach = max(least // 2, math.ceil(3 * float(covariance.diagonal().max()) ** 0.5))
    offset = torch.arange(-reach, reach + 1, dtype=torch.float64)
    position = torch.stack(torch.meshgrid(offset, offset, indexing="ij")).flatten(1)
    exponent = -0.5 * (position * torch.linalg.solve(covariance, position)).sum(0)
    return torch.softmax(exponent, 0).view(len(offset), len(offset))


def disk(radius: float) -> Tensor:
    """Disk of ``radius`` px with a soft edge, as of a lens out of focus: (odd, odd), sums to 1."""
    reach = math.ceil(radius)
    offset = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = (radius + 0.5 - (offset[:, None] ** 2 + offset**2).sqrt()).clamp(0, 1)
    return kernel / kernel.sum()


def padded(kernel: Tensor, least: int) -> Tensor:
    """The kernel, with zeros around it up to an odd side of ``least``."""
    return torch.nn.functional.pad(kernel, [max(0, (least - len(kernel)) // 2)] * 4)
