"""Draws docs/synthetic_blur.png: 24 random examples of data=synthetic_blur, each sharp above and blurred below.

The first whose crop shows something, however the blur turns out.

    python docs/synthetic_blur.py [another file]
"""

import sys
from itertools import islice
from pathlib import Path

import torch

from restore.data.datasets import Sample, TrainingCrops
from restore.data.hr_lr_folders import find_pairs
from restore.degradations.motion_blur import MotionBlur
from restore.image import writing
from restore.image.decoded_image import DecodedImage

COLUMNS, EXAMPLES, SIDE, GAP = 8, 24, 128, 4
FLAT = 0.05  # standard deviation of a ninth of a crop


def sheet() -> torch.Tensor:
    """Float, (3, H, W), [0, 1]."""
    pairs = find_pairs("photos_train", 1) + find_pairs("photos_held_out", 1)
    blur = MotionBlur()
    crops = TrainingCrops(pairs, scale=1, patch_size=SIDE, count=10 * EXAMPLES, seed=0, degradations=[blur])
    cells = []
    for sample in islice(filter(shows_something, (crops[k] for k in range(len(crops)))), EXAMPLES):
        cell = torch.cat([sample["gt"], sample["lq"]], 1)
        cells.append(torch.nn.functional.pad(cell, (0, GAP, 0, GAP), value=1.0))
    rows = [torch.cat(cells[k : k + COLUMNS], 2) for k in range(0, EXAMPLES, COLUMNS)]
    return torch.cat(rows, 1)


def shows_something(sample: Sample) -> bool:
    """Not sky or night in most of its ninths: on a flat region no blur can be seen."""
    parts = torch.nn.functional.unfold(sample["gt"].mean(0)[None, None], SIDE // 3, stride=SIDE // 3)[0]
    return int((parts.std(0) > FLAT).sum()) >= 6


if __name__ == "__main__":
    file = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_suffix(".png")
    writing.write(file, DecodedImage.of(sheet()))
