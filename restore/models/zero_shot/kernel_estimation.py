"""Estimates the kernel that an image was downscaled with, from the image alone.

A scene looks alike at every scale, so an image downscaled with the right kernel looks like the image itself. This is
used twice. First in the spectrum (:mod:`restore.models.zero_shot.spectrum`). Then in patches, after Bell-Kligler,
Shocher, Irani, "Blind Super-Resolution Kernel Estimation using an Internal-GAN", NeurIPS 2019 (KernelGAN): a deep
linear generator, initialised with that kernel, downscales the image until a discriminator cannot tell its patches from
the image's own.

Departures from the paper, because estimated kernels were too narrow (less than half the variance): the image's own
patches are blurred slightly first, because the downscaled ones have been blurred twice; and the kernel's border and
small values are regularised towards the first estimate instead of 0.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.io.errors import SettingError
from restore.models.zero_shot import spectrum
from restore.networks.kernel_gan import TAPS, KernelDiscriminator, LinearGenerator
from restore.ops.blur_kernels import LARGEST, centred, shrink

SMALLEST = 64  # pixels; smaller images contain too few patches
PATCHES = 32  # pixels; side of the crops that the discriminator compares
HOLD = 0.1  # weight of the distance from the first estimate
_FLAT = ("kernel", "estimate", "an image with detail to estimate a blur from", "leave kernel out")
AVERAGE = 0.98  # decay of the kernel's moving average over the steps, because a GAN oscillates


def estimate_kernel(
    image: Tensor, scale: int, *, steps: int, seed: int, report: Callable[[int, int], None] | None = None
) -> Tensor:
    """Estimate the kernel that an image was downscaled with.

    Args:
        image: float, (1 or 3, H, W), [0, 1], at least 64 x 64.
        scale: 2, 3 or 4: ratio of the finer pixels, in which the kernel is measured.
        steps: updates of the generator; 0 returns the first estimate.
        seed: the same seed gives the same kernel.
        report: called with (steps done, total steps) after each step.

    Returns:
        float64, (odd, odd), non-negative up to errors of centring, sums to 1, centre of mass in the middle; on the
        image's device.

    Raises:
        SettingError: another scale, a smaller image, or one without detail. ValueError: another kind of image.
    """
    _check(image, scale, steps)
    # the caller may use inference_mode, under which nothing can be trained
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image = image.detach().clone().float()
        found = spectrum.blur_of(image, scale)
        if 3 * max(found.deviations) > LARGEST // 2:  # as for noise on a flat image
            raise SettingError(*_FLAT)
        start = spectrum.padded(found.kernel, TAPS)
        kernel = _refine(image, start, scale, steps, report) if steps else start
        kernel = kernel.clamp(min=0)
        return centred(kernel * (kernel > 0.005 * kernel.max()))


def check_scale(scale: int) -> None:
    """Raise SettingError for a scale at which a kernel cannot be estimated."""
    if scale not in (2, 3, 4):
        raise SettingError("scale", scale, "2, 3 or 4 with kernel=estimate", "enlarge in several steps")


def _check(image: Tensor, scale: int, steps: int) -> None:
    check_scale(scale)
    if steps < 0:
        raise ValueError(f"kernel=estimate: steps is {steps}, expected 0 or more")
    if not image.is_floating_point() or image.dim() != 3 or len(image) not in (1, 3):
        got = f"{image.dtype} {tuple(image.shape)}"
        raise ValueError(f"kernel=estimate: got {got}, expected a float image of shape (1 or 3, height, width)")
    if min(image.shape[1:]) < SMALLEST:
        got = f"{image.shape[2]}x{image.shape[1]}"
        expected = f"an image of at least {SMALLEST} px in each direction, as less does not show the blur; it has {got}"
        raise SettingError("kernel", "estimate", expected, "leave kernel out")
    if not float(image.mean(0).std()) > 1e-3:
        raise SettingError(*_FLAT)


# --- the second: patches -----------------------------------------------------------------------------------------


def _refine(image: Tensor, start: Tensor, scale: int, steps: int, report: Callable[[int, int], None] | None) -> Tensor:
    """The generator's kernel, averaged over the steps: float64, same shape as ``start``."""
    start = start.float().to(image.device)
    generator = LinearGenerator(scale=scale).to(image.device)
    discriminator = KernelDiscriminator(in_channels=len(image)).to(image.device)
    middle = (len(start) - TAPS) // 2
    _imitate(generator, start[middle : middle + TAPS, middle : middle + TAPS])
    rest = start - F.pad(generator.kernel().detach(), [middle] * 4)  # what the imitation does not reproduce
    crops = _Crops(image, _own_patches(image, start, scale), len(start) + scale * (PATCHES - 1))
    opt_g = torch.optim.Adam(generator.parameters(), 2e-4, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(discriminator.parameters(), 2e-4, betas=(0.5, 0.999))
    average = start.double()
    for step in range(steps):
        crop, real = crops.draw()
        kernel = rest + F.pad(generator.kernel(), [middle] * 4)
        fake = F.conv2d(crop[:, None], kernel[None, None], stride=scale).transpose(0, 1)
        discriminator.requires_grad_(False)
        _update(opt_g, (discriminator(fake) - 1).square().mean() + _constraints(kernel, start))
        discriminator.requires_grad_(True)
        made = discriminator(fake.detach()).square().mean()
        _update(opt_d, ((discriminator(real) - 1).square().mean() + made) / 2)
        average = average.lerp(kernel.detach().double(), 1 - AVERAGE)
        if report is not None:
            report(step + 1, steps)
    return average


def _imitate(generator: LinearGenerator, kernel: Tensor) -> None:
    optimiser = torch.optim.Adam(generator.parameters(), 1e-3)
    for _ in range(100):
        _update(optimiser, (generator.kernel() - kernel).abs().sum())


def _update(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()


def _own_patches(image: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """The image, blurred so that its blur, at its own scale, equals that of the image downscaled with ``kernel``.

    If the image has blur k, the downscaled image has k plus a copy of k scaled by 1 / ``scale``, in its own pixels.
    """
    offset = torch.arange(len(kernel), dtype=torch.float64) - len(kernel) // 2
    weight = kernel.double().cpu()
    rows, columns, both = weight.sum(1) @ offset**2, weight.sum(0) @ offset**2, offset @ weight @ offset
    covariance = torch.stack([rows, both, both, columns]).view(2, 2) / scale**4
    return shrink(image, spectrum.gaussian(covariance, 3), 1)


def _constraints(kernel: Tensor, start: Tensor) -> Tensor:
    """The constraints of the paper's section 4.3: sum 1, centred, and 0 where the first estimate is 0."""
    offset = torch.arange(len(kernel), device=kernel.device) - len(kernel) // 2
    centre = torch.stack([kernel.sum(1) @ offset.to(kernel), kernel.sum(0) @ offset.to(kernel)])
    empty = start < 0.01 * start.max()
    far = (kernel - start).square().sum() / start.square().sum()
    penalty: Tensor = 0.5 * ((1 - kernel.sum()).abs() + centre.norm() + (kernel - start)[empty].abs().sum())
    return penalty + HOLD * far


class _Crops:
    """Draws random crops, preferably where the image has edges (the paper's section 4.4).

    Args:
        image: (C, H, W), to be downscaled.
        own: (C, H, W), whose patches the downscaled ones should resemble.
        side: side of the crops of ``image``; crops of ``own`` have ``PATCHES``.
    """

    def __init__(self, image: Tensor, own: Tensor, side: int) -> None:
        self.image, self.own = image, own
        self.sides = [min(side, length) for length in image.shape[1:]]
        grey = image.mean(0)
        edges = (grey[1:, 1:] - grey[:-1, 1:]).abs() + (grey[1:, 1:] - grey[1:, :-1]).abs()
        self.chances = [_means(edges, self.sides), _means(edges, [PATCHES, PATCHES])]

    def draw(self) -> tuple[Tensor, Tensor]:
        """A crop to downscale, (C, side, side), and one of the image's own, (1, C, 32, 32)."""
        (top, left), (y, x) = (
            divmod(int(torch.multinomial(chance.flatten(), 1)), chance.shape[1]) for chance in self.chances
        )
        crop = self.image[:, top : top + self.sides[0], left : left + self.sides[1]]
        return crop, self.own[None, :, y : y + PATCHES, x : x + PATCHES]


def _means(edges: Tensor, sides: list[int]) -> Tensor:
    """Mean edge strength of each crop, by its corner; on the CPU, so that all devices draw the same crops."""
    return F.avg_pool2d(edges[None, None], [side - 1 for side in sides], 1)[0, 0].cpu() + 1e-6
