"""Image quality by named protocol.

Published numbers differ by whole decibels due to the protocol alone, so every score here belongs to a named protocol,
and none is called just "psnr". A protocol scores one image; the score of a data set is the mean of its images' scores,
never a pooled error.
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
    """Clamp a [0, 1] image and round it to 8-bit levels (half up); returns float64 in 0..255."""
    return image.detach().to("cpu", torch.float64).clamp(0, 1).mul(255).add(0.5).floor()


def luma(rgb: Tensor) -> Tensor:
    """ITU-R BT.601 luma in the range of MATLAB's ``rgb2ycbcr``, not rounded.

    Args:
        rgb: float64, (..., 3, H, W), 0..255. The range 16..235 matters: with full-range luma, PSNR differs by 1.32 dB.

    Returns:
        float64, (..., 1, H, W), 16..235.
    """
    weight = torch.tensor([65.481, 128.553, 24.966], dtype=rgb.dtype).view(3, 1, 1)
    return 16 + (rgb * weight).sum(-3, keepdim=True) / 255


def psnr(pred: Tensor, gt: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over all elements; ``inf`` for identical images.

    Args:
        pred, gt: float, of the same shape, 0..255.
    """
    return float(10 * torch.log10(255**2 / (pred - gt).square().mean()))


def _window() -> Tensor:
    window = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    return window / window.sum()


def _blur(x: Tensor) -> Tensor:
    """(C, H, W) -> (C, H - 10, W - 10): Gaussian window, only positions where it lies within the image."""
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
        The mean, at most 1; ``nan`` if the image is smaller than the window.
    """
    if min(pred.shape[-2:]) < 11:
        return float("nan")
    return _similarity(pred, gt, _blur)


def ssim_volume(pred: Tensor, gt: Tensor) -> float:
    """The result of MATLAB's ``ssim`` for a colour image, which it treats as a volume of H x W x 3.

    The Gaussian window has 11x11x11 weights, so every channel is compared through all three; beyond its borders the
    volume repeats its outermost values, and all positions count. For a grey image, without a third axis, the window has
    11x11 weights.

    Args:
        pred, gt: float64, (3 or 1, H, W), 0..255, any H, W >= 1.

    Returns:
        The mean, at most 1.
    """
    channels = pred.shape[0]
    offsets = torch.arange(channels)[:, None] + torch.arange(-5, 6)
    # a window over 3 values that repeat at both ends is a 3x3 matrix: the sums of the weights that apply to each value
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
    if gt.shape[-3] == 1:  # grey file: the prediction is the mean of the channels
        pred = pred.mean(-3, keepdim=True)
    return pred, gt


def sr_y(pred: Tensor, gt: Tensor, *, scale: int) -> Score:
    """Protocol of super-resolution tables: PSNR and SSIM on luma, without ``scale`` pixels of border.

    Args:
        pred: float, (3, H, W), [0, 1]; first clamped and rounded to 8 bits.
        gt: float, (3, H, W), or (1, H, W) for a grey file, which is its own luma (converting it to RGB would change
            Set14).
        scale: scale factor, and the width of the border in gt pixels.

    Returns:
        ``{"psnr_y": dB, "ssim_y": at most 1}``.
    """
    pred, gt = _prepare(pred, gt, scale)
    if gt.shape[-3] == 3:
        pred, gt = luma(pred), luma(gt)
    return {"psnr_y": psnr(pred, gt), "ssim_y": ssim(pred, gt)}


def sr_rgb(pred: Tensor, gt: Tensor, *, scale: int) -> Score:
    """Protocol of some toolboxes: PSNR over all channels, without ``scale`` pixels of border.

    Args:
        pred, gt, scale: as for :func:`sr_y`.

    Returns:
        ``psnr_rgb`` in dB.
    """
    pred, gt = _prepare(pred, gt, scale)
    return {"psnr_rgb": psnr(pred, gt)}


def deblur_rgb(pred: Tensor, gt: Tensor, *, scale: int) -> Score:
    """Protocol of deblurring tables: PSNR over all channels, SSIM averaged over channels, including the border.

    Args:
        pred: float, (3, H, W), [0, 1]; first clamped and rounded to 8 bits.
        gt: float, (3, H, W), or (1, H, W) for a grey file, for which the prediction is the mean of the channels.
        scale: ignored; all protocols have the same arguments.

    Returns:
        ``{"psnr_rgb": dB, "ssim_rgb": at most 1}``.
    """
    pred, gt = _prepare(pred, gt, 0)
    return {"psnr_rgb": psnr(pred, gt), "ssim_rgb": ssim(pred, gt)}


def deblur_matlab3d(pred: Tensor, gt: Tensor, *, scale: int) -> Score:
    """Like deblur_rgb with SSIM over the colour volume; only for comparison with papers that used MATLAB's ``ssim``."""
    pred, gt = _prepare(pred, gt, 0)
    return {"psnr_rgb": psnr(pred, gt), "ssim_matlab3d": ssim_volume(pred, gt)}


def translation_rgb(pred: Tensor, gt: Tensor, *, scale: int) -> Score:
    """Protocol of translation tables: L1, PSNR and SSIM over the colour channels, including the border.

    L1 is the mean absolute difference of the 8-bit images relative to their range, in [0, 1]; smaller is better.
    LPIPS, FID and KID, which need networks, are in :mod:`restore.metrics.perceptual`.

    Args: as for deblur_rgb.

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
        name: used in logs, tables and file headers.
        family: layout of a benchmark folder, and how its pairs are read.
        baseline: the restorer scored for comparison; None if the input is no estimate of the output.
        columns: names of the scores.
        score: ``score(pred, gt, scale=...)`` returns one number for each of ``columns``.
        has_perceptual: LPIPS, FID and KID are added to the columns if their weights are given.
    """

    name: str
    family: Family
    baseline: str | None
    columns: tuple[str, ...]
    score: Callable[..., Score]
    has_perceptual: bool = False

    @property
    def enlarges(self) -> bool:
        """Whether pred is larger than lq, which is made by downscaling gt if it is not given."""
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
    """The protocol with this name.

    Raises:
        SettingError: unknown name; the error lists the known ones.
    """
    if name not in PROTOCOLS:
        raise SettingError("protocol", name, f"one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
