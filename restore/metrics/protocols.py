"""Image quality by named protocol.

Published numbers differ by whole decibels through protocol alone, so every score here belongs to a named protocol
and nothing is ever called just "psnr". A protocol scores one image; the score of a data set is the mean of its
images' scores, never a pooled error.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.io.errors import SettingError

Score = dict[str, float]


def to_8bit(image: Tensor) -> Tensor:
    """Clamp a [0, 1] image, round it to whole 8-bit levels (half up); returns float64 in 0..255."""
    return image.detach().to("cpu", torch.float64).clamp(0, 1).mul(255).add(0.5).floor()


def luma(rgb: Tensor) -> Tensor:
    """ITU-R BT.601 luma in MATLAB's ``rgb2ycbcr`` range, not rounded.

    Args:
        rgb: float64, (..., 3, H, W), 0..255. The 16-235 range matters: full-range luma is 1.32 dB away.

    Returns:
        float64, (..., 1, H, W), 16..235.
    """
    weight = torch.tensor([65.481, 128.553, 24.966], dtype=rgb.dtype).view(3, 1, 1)
    return 16 + (rgb * weight).sum(-3, keepdim=True) / 255


def psnr(pred: Tensor, gt: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over every element; identical images give ``inf``.

    Args:
        pred, gt: float, of one shape, 0..255.
    """
    return float(10 * torch.log10(255**2 / (pred - gt).square().mean()))


def _window() -> Tensor:
    window = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    return window / window.sum()


def _blur(x: Tensor) -> Tensor:
    """(C, H, W) -> (C, H - 10, W - 10): the Gaussian window where it lies inside."""
    window = _window()
    x = F.conv2d(x[:, None], window.view(1, 1, 11, 1))
    return F.conv2d(x, window.view(1, 1, 1, 11))[:, 0]


def _similarity(pred: Tensor, gt: Tensor, blur: Callable[[Tensor], Tensor]) -> float:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mu_p, mu_g = blur(pred), blur(gt)
    var_p, var_g = blur(pred * pred) - mu_p**2, blur(gt * gt) - mu_g**2
    cov = blur(pred * gt) - mu_p * mu_g
    value = (2 * mu_p * mu_g + c1) * (2 * cov + c2) / ((mu_p**2 + mu_g**2 + c1) * (var_p + var_g + c2))
    return float(value.mean())


def ssim(pred: Tensor, gt: Tensor) -> float:
    """Structural similarity (Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004, eq. 13).

    Gaussian window 11x11, sigma 1.5, valid area only, K = (0.01, 0.03), L = 255, averaged over positions and channels.

    Args:
        pred, gt: float64, (C, H, W), 0..255, both sides at least 11.

    Returns:
        The mean, at most 1; ``nan`` where the image is smaller than the window.
    """
    if min(pred.shape[-2:]) < 11:
        return float("nan")
    return _similarity(pred, gt, _blur)


def ssim_volume(pred: Tensor, gt: Tensor) -> float:
    """What MATLAB's ``ssim`` returns for a colour image, which it takes for a volume of H x W x 3.

    The Gaussian window has 11x11x11 weights, so every channel is compared through all three; outside its borders the
    volume repeats its outermost values, and every position counts. A grey image has no third axis: there the
    window has 11x11 weights.

    Args:
        pred, gt: float64, (3 or 1, H, W), 0..255, any H, W >= 1.

    Returns:
        The mean, at most 1.
    """
    channels = pred.shape[0]
    offsets = torch.arange(channels)[:, None] + torch.arange(-5, 6)
    # a window over 3 values that repeat at both ends is a 3x3 matrix: the weights that fall on each value, added up
    mix = torch.zeros(channels, channels, dtype=torch.float64)
    mix.scatter_add_(1, offsets.clamp(0, channels - 1), _window().expand(channels, -1))

    def blur(x: Tensor) -> Tensor:
        mixed = torch.einsum("dc,chw->dhw", mix, x)
        return _blur(F.pad(mixed[None], (5, 5, 5, 5), mode="replicate")[0])

    return _similarity(pred, gt, blur)


def _crop(image: Tensor, border: int) -> Tensor:
    height, width = image.shape[-2:]
    if min(height, width) <= 2 * border:
        raise ValueError(f"image of {width}x{height} px has nothing left inside a crop_border of {border} px")
    return image[..., border : height - border, border : width - border]


def _prepare(pred: Tensor, gt: Tensor, border: int) -> tuple[Tensor, Tensor]:
    if pred.shape[-2:] != gt.shape[-2:]:
        got, expected = (f"{each.shape[-1]}x{each.shape[-2]}" for each in (pred, gt))
        raise ValueError(f"prediction is {got} px, the reference is {expected} px")
    pred, gt = _crop(to_8bit(pred), border), _crop(to_8bit(gt), border)
    if gt.shape[-3] == 1:  # a grey file: its prediction is the mean of the channels
        pred = pred.mean(-3, keepdim=True)
    return pred, gt


def sr_y(pred: Tensor, gt: Tensor, *, scale: int) -> Score:
    """Protocol of super-resolution tables: PSNR and SSIM on luma, ``scale`` pixels of border left out.

    Args:
        pred: float, (3, H, W), [0, 1]; clamped and rounded to 8 bit first.
        gt: float, (3, H, W), or (1, H, W) for a grey file, which is its own luma (making it RGB would change Set14).
        scale: the factor, and the width of the border in gt pixels.

    Returns:
        ``{"psnr_y": dB, "ssim_y": at most 1}``.
    """
    pred, gt = _prepare(pred, gt, scale)
    if gt.shape[-3] == 3:
        pred, gt = luma(pred), luma(gt)
    return {"psnr_y": psnr(pred, gt), "ssim_y": ssim(pred, gt)}


def sr_rgb(pred: Tensor, gt: Tensor, *, scale: int) -> Score:
    """Protocol of some toolboxes: PSNR over all channels, ``scale`` pixels of border left out.

    Args:
        pred, gt, scale: as of :func:`sr_y`.

    Returns:
        ``psnr_rgb`` in dB.
    """
    pred, gt = _prepare(pred, gt, scale)
    return {"psnr_rgb": psnr(pred, gt)}


def deblur_rgb(pred: Tensor, gt: Tensor, *, scale: int) -> Score:
    """Protocol of deblurring tables: PSNR over all channels, SSIM averaged over them, no border left out.

    Args:
        pred: float, (3, H, W), [0, 1]; clamped and rounded to 8 bit first.
        gt: float, (3, H, W), or (1, H, W) for a grey file, whose prediction is the mean of the channels.
        scale: not used; the arguments are every protocol's.

    Returns:
        ``{"psnr_rgb": dB, "ssim_rgb": at most 1}``.
    """
    pred, gt = _prepare(pred, gt, 0)
    return {"psnr_rgb": psnr(pred, gt), "ssim_rgb": ssim(pred, gt)}


def deblur_matlab3d(pred: Tensor, gt: Tensor, *, scale: int) -> Score:
    """As deblur_rgb with SSIM over the colour volume, only to compare with papers that used MATLAB's ``ssim``."""
    pred, gt = _prepare(pred, gt, 0)
    return {"psnr_rgb": psnr(pred, gt), "ssim_matlab3d": ssim_volume(pred, gt)}


def translation_rgb(pred: Tensor, gt: Tensor, *, scale: int) -> Score:
    """Protocol of translation tables: L1, PSNR and SSIM over the colour channels, no border left out.

    L1 is the mean absolute difference of the 8-bit images as a share of the range, in [0, 1]; smaller is better.
    LPIPS, FID and KID, which need networks, are in :mod:`restore.metrics.perceptual`.

    Args: as of deblur_rgb.

    Returns:
        ``{"l1": 0 to 1, "psnr_rgb": dB, "ssim_rgb": at most 1}``.
    """
    pred, gt = _prepare(pred, gt, 0)
    l1 = float((pred - gt).abs().mean() / 255)
    return {"l1": l1, "psnr_rgb": psnr(pred, gt), "ssim_rgb": ssim(pred, gt)}


Family = Literal["super_resolution", "deblur", "translation"]


class Protocol(NamedTuple):
    """A named way to score one image.

    Attributes:
        name: stands in logs, tables and file headers.
        family: how a benchmark folder is laid out and its pairs are read.
        baseline: the restorer that is scored beside another one; None where the input is no estimate of the output.
        columns: names of the scores.
        score: ``score(pred, gt, scale=...)`` returns one number for each of ``columns``.
        has_perceptual: LPIPS, FID and KID stand beside the columns where their weights are given.
    """

    name: str
    family: Family
    baseline: str | None
    columns: tuple[str, ...]
    score: Callable[..., Score]
    has_perceptual: bool = False

    @property
    def enlarges(self) -> bool:
        """Whether pred is larger than lq, which is made by shrinking gt where it is not given."""
        return self.family == "super_resolution"


_ALL = (
    Protocol("sr_y", "super_resolution", "bicubic", ("psnr_y", "ssim_y"), sr_y),
    Protocol("sr_rgb", "super_resolution", "bicubic", ("psnr_rgb",), sr_rgb),
    Protocol("deblur_rgb", "deblur", "identity", ("psnr_rgb", "ssim_rgb"), deblur_rgb),
    Protocol("deblur_matlab3d", "deblur", "identity", ("psnr_rgb", "ssim_matlab3d"), deblur_matlab3d),
    Protocol(
        "translation_rgb", "translation", None, ("l1", "psnr_rgb", "ssim_rgb"), translation_rgb, has_perceptual=True
    ),
)
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({each.name: each for each in _ALL})


def protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        SettingError: for an unknown name, listing the known ones.
    """
    if name not in PROTOCOLS:
        raise SettingError("protocol", name, f"one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
