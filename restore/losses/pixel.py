"""Losses that compare (pred, gt), float (N, C, H, W) in [0, 1]; each returns a scalar."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Convert half precision to float32; any shape, values unchanged."""
    return x if x.dtype == torch.float64 else x.float()


def l1(pred: Tensor, gt: Tensor) -> Tensor:
    """Mean absolute error."""
    return (pred - gt).abs().mean()


def charbonnier(pred: Tensor, gt: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(error^2 + epsilon^2): an L1 that is smooth at zero, where it equals ``epsilon``.

    Charbonnier et al., ICIP 1994; for restoration Lai et al., LapSRN, CVPR 2017, section 3.3.
    """
    return ((pred - gt).square() + epsilon**2).sqrt().mean()


def log_mse(pred: Tensor, gt: Tensor, *, epsilon: float = 3e-5) -> Tensor:
    """Mean over images of log(mean squared error + epsilon): the negative PSNR up to a factor.

    Chen et al., HINet, CVPRW 2021, train on the PSNR. A decibel counts the same in a nearly sharp image as in a
    strongly blurred one; ``epsilon``, which equals 45 dB, bounds the gradients of almost perfect images.
    """
    return ((pred - gt).square().mean((1, 2, 3)) + epsilon).log().mean()


def mse_gradient(pred: Tensor, gt: Tensor, *, weight: float = 2.5) -> Tensor:
    """Mean squared error, plus ``weight`` times that of the grey image's horizontal and vertical differences.

    The loss of the published deblurring network (Xu et al., CVIU 205, 2021). Grey is ITU-R BT.601 luma. Images need
    3 channels, and sides of at least 2 pixels.
    """
    error = pred - gt
    grey = (error * error.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)
    return error.square().mean() + weight * (grey.diff(dim=-1).square().mean() + grey.diff(dim=-2).square().mean())


def frequency_l1(pred: Tensor, gt: Tensor) -> Tensor:
    """Mean absolute difference of the two-dimensional spectra (Cho et al., MIMO-UNet, ICCV 2021, eq. 4).

    The orthonormal transform makes the values of different patch sizes comparable.
    """
    difference: Tensor = torch.fft.rfft2(at_least_float32(pred - gt), norm="ortho")
    return difference.abs().mean()
