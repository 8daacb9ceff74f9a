"""Second-order channel attention, a slower alternative to information-gain attention, for comparison.

Dai, Cai, Zhang, Xia, Zhang, "Second-order Attention Network for Single Image Super-Resolution", CVPR 2019, section
3.3: channel statistics from the square root of the feature covariance, found by Newton-Schulz iteration (Li et al.,
"Towards Faster Training of Global Covariance Pooling Networks", CVPR 2018).
"""

import torch
from torch import Tensor, nn


def covariance(x: Tensor) -> Tensor:
    """Covariance of the channels over positions: (N, C, H, W) -> (N, C, C), biased, as in the paper's eq. 4."""
    flat = x.flatten(2)
    centred = flat - flat.mean(2, keepdim=True)
    return centred @ centred.transpose(1, 2) / flat.shape[2]


def matrix_sqrt(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Square root of positive semi-definite matrices by the coupled Newton-Schulz iteration (eq. 7 to 9).

    Args:
        matrix: float, (N, C, C). Divided by its trace first, because the iteration only converges near the identity.
        iterations: 5 as published.
    """
    eye = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    # the smallest normal number prevents 0 / 0 for a constant map (zero covariance, e.g. of a 1x1 image); clamped, not
    # added, because the ONNX converter drops an addition that it takes for zero
    trace = matrix.diagonal(dim1=1, dim2=2).sum(1).view(-1, 1, 1).clamp_min(torch.finfo(matrix.dtype).tiny)
    y, z = matrix / trace, eye + torch.zeros_like(matrix)
    for _ in range(iterations):
        step = 0.5 * (3 * eye - z @ y)
        y, z = y @ step, step @ z
    return y * trace.sqrt()


class SecondOrderAttention(nn.Module):
    """One weight in (0, 1) per channel, from second-order statistics of the features (eq. 10 to 12).

    Args:
        channels: of the features.
        reduction: the bottleneck has ``channels / reduction`` channels, at least 1; 16 as published.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        narrow = max(1, channels // reduction)
        self.excite = nn.Sequential(nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        with torch.autocast(x.device.type, enabled=False):  # the iteration diverges in half precision
            statistics = matrix_sqrt(covariance(x.float() if x.dtype != torch.float64 else x)).mean(1)
        weight: Tensor = self.excite(statistics)
        return weight[:, :, None, None]
