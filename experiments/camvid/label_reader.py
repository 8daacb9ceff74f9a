"""A small network from photos to labels, trained on the real pairs, that reads labels back from generated photos.

The idea is pix2pix's (Isola et al., CVPR 2017, "FCN score"): if the photos show what the labels ask for, a network that
was trained on real photos finds the labels in them.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import multiclass_confusion_matrix

CLASSES, VOID = 12, 11
WIDTH, LEVELS = 16, 4
STEPS, BATCH, LR = 1000, 4, 2e-3


class LabelReader(nn.Module):
    """A U-Net (Ronneberger et al., MICCAI 2015) with ``LEVELS`` resolutions: (n, 3, h, w) -> (n, CLASSES, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        widths = [WIDTH * 2**level for level in range(LEVELS)]
        self.down = nn.ModuleList(_block(before, width) for before, width in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(_block(3 * width, width) for width in widths[:-1])
        self.last = nn.Conv2d(WIDTH, CLASSES, 1)

    def forward(self, photo: Tensor) -> Tensor:
        """Scores of the classes; photo in [0, 1]."""
        features, x = [], 2 * photo - 1
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            features.append(x)
        for skip, block in zip(features[-2::-1], reversed(self.up), strict=True):
            x = block(torch.cat([F.interpolate(x, skip.shape[2:]), skip], 1))
        scores: Tensor = self.last(x)
        return scores


def trained(crops: Any, seed: int = 0) -> LabelReader:
    """Train on samples with one-hot lq and a photo as gt; void pixels are left out of the loss."""
    torch.manual_seed(seed)
    reader = LabelReader().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(reader.parameters(), lr=LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for batch in track(DataLoader(crops, BATCH), "train the reader", total=STEPS):
        loss = F.cross_entropy(reader(batch["gt"]), batch["lq"].argmax(1), ignore_index=VOID)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return reader.eval()


@torch.inference_mode()
def confusion(reader: LabelReader, photo: Tensor, labels: Tensor) -> Tensor:
    """Pixels of each class (rows) and of what the reader sees there (columns), int (CLASSES, CLASSES); void left out.

    Args:
        photo: float (3, h, w), [0, 1]. labels: int (h, w).
    """
    found = reader(_padded(photo)[None])[0, :, : labels.shape[0], : labels.shape[1]]
    found[VOID] = -torch.inf  # nothing is void
    return multiclass_confusion_matrix(found.argmax(0), labels, CLASSES, ignore_index=VOID)


def agreement(matrices: Sequence[Tensor]) -> dict[str, float]:
    """Share of pixels read as what they are, and the mean intersection over union of the classes that occur."""
    matrix = torch.stack(list(matrices)).sum(0).double()
    right, asked, seen = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    occurs = asked > 0
    union = (asked + seen - right)[occurs]
    return {"accuracy": float(right.sum() / matrix.sum()), "mean_iou": float((right[occurs] / union).mean())}


def _padded(photo: Tensor) -> Tensor:
    multiple = 2 ** (LEVELS - 1)
    below, right = (-side % multiple for side in photo.shape[1:])
    return F.pad(photo[None], (0, right, 0, below), mode="replicate")[0]


def _block(before: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, width):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
