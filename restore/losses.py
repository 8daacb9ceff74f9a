"""Small losses, no configuration: each compares (pred, gt), float (N, C, H, W) in [0, 1], and returns a scalar."""

import torch
from torch import Tensor


def l1(pred: Tensor, gt: Tensor) -> Tensor:
    """Mean absolute error."""
    return (pred - gt).abs().mean()


def frequency_l1(pred: Tensor, gt: Tensor) -> Tensor:
    """Mean absolute difference of the two-dimensional spectra (Cho et al., MIMO-UNet, ICCV 2021, eq. 4).

    The orthonormal transform keeps the value comparable between patch sizes.
    """
    difference: Tensor = torch.fft.rfft2((pred - gt).float(), norm="ortho")
    return difference.abs().mean()
