"""The mean of a protocol's scores over images, as a torchmetrics metric summed over processes."""

import torch
import torchmetrics
from torch import Tensor

from restore.metrics.protocols import protocol


class MeanScore(torchmetrics.Metric):
    """Mean of one protocol's scores over images; sums are kept in float64 and added over processes.

    Args:
        name: a key of ``PROTOCOLS``.
        scale: passed to the protocol.

    Attributes:
        newest: scores of the latest image.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, name: str, scale: int) -> None:
        super().__init__()
        self.protocol, self.scale = protocol(name), scale
        self.add_state("total", torch.zeros(len(self.protocol.columns), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Tensor, gt: Tensor) -> None:
        """Score one image; shapes as for the protocol."""
        self.newest = score = self.protocol.score(pred, gt, scale=self.scale)
        values = torch.tensor([score[column] for column in self.protocol.columns], dtype=torch.float64)
        self.total += values.to(self.total.device)
        self.count += 1

    def compute(self) -> dict[str, Tensor]:
        """Mean over images for every column, (), float64, in the column's unit (such as dB)."""
        return dict(zip(self.protocol.columns, self.total / self.count, strict=True))
