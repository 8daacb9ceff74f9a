"""Enlarges photos as they come by `ckpt_path=auto`, and draws their most detailed parts beside bicubic.

    python -m experiments.super_resolution.real_photos photos enlarged experiments/super_resolution/real_photos.jpg

There is no reference for such photos: the sheet is to be looked at. Two photos in each row, each bicubic on the left
and auto on the right; the part is the one with the largest mean gradient. What was enlarged before stays as it is.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage, to_float
from restore.inference.output_paths import RECORD, entries
from restore.io.tables import markdown_rows
from restore.ops.resize import enlarge

SIDE, MARGIN, SCALE = 128, 8, 2  # px of the photo; factor of enlargement
GAP = 8  # px of the sheet
IN_ROW = 2


def main() -> None:
    """Enlarge, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of the photos")
    parser.add_argument("enlarged", type=Path, help="folder of the results")
    parser.add_argument("sheet", type=Path, help="image file that is written")
    given = parser.parse_args()
    argv = [sys.executable, "-m", "restore.predict", "ckpt_path=auto", f"scale={SCALE}"]
    subprocess.run([*argv, f"input={given.photos}", f"output={given.enlarged}"], check=True)
    made = entries(given.enlarged / RECORD)
    lines, parts = [["photo", "size, px", "weights"]], []
    for name, entry in sorted(made.items()):
        photo = Path(entry["input"][0])
        lq, pred = (to_float(reading.read_rgb8(each)) for each in (photo, given.enlarged / name))
        lines.append([photo.name, f"{lq.shape[2]}x{lq.shape[1]}", entry["notes"]["weights"]])
        parts.append(beside_bicubic(lq, pred))
    writing.write(given.sheet, DecodedImage.of(in_rows(parts)), quality=92)
    print(markdown_rows(lines))


def beside_bicubic(lq: Tensor, pred: Tensor) -> Tensor:
    """The most detailed part, bicubic and ``pred`` side by side: (3, h, w) and (3, 2 h, 2 w), [0, 1]."""
    side = min(SIDE, *(length - 1 for length in lq.shape[1:]))
    top, left = most_detailed(lq, side)
    # a margin, so that the part's own edges are enlarged as the whole photo's are
    above, before = min(MARGIN, top), min(MARGIN, left)
    part = enlarge(lq[:, top - above : top + side + MARGIN, left - before : left + side + MARGIN], SCALE)
    bicubic = part[:, above * SCALE :, before * SCALE :][:, : side * SCALE, : side * SCALE]
    ours = pred[:, top * SCALE :, left * SCALE :][:, : side * SCALE, : side * SCALE]
    return torch.cat([bicubic, ours], 2).clamp(0, 1)


def most_detailed(image: Tensor, side: int) -> tuple[int, int]:
    """Top left corner of the part of ``side`` px with the largest mean gradient, on a grid of half of it."""
    grey, stride = image.mean(0), max(1, side // 2)
    gradient = (grey[1:, 1:] - grey[:-1, 1:]).abs() + (grey[1:, 1:] - grey[1:, :-1]).abs()
    means = F.avg_pool2d(gradient[None], side, stride=stride)[0]
    row, column = divmod(int(means.argmax()), means.shape[1])
    return row * stride, column * stride


def in_rows(parts: list[Tensor]) -> Tensor:
    """Parts of one size in rows of ``IN_ROW``, with white gaps."""
    padded = [F.pad(part, (0, GAP, 0, GAP), value=1.0) for part in parts]
    padded += [torch.ones_like(padded[0])] * (-len(padded) % IN_ROW)
    rows = [torch.cat(padded[first : first + IN_ROW], 2) for first in range(0, len(padded), IN_ROW)]
    return torch.cat(rows, 1)[:, :-GAP, :-GAP]


if __name__ == "__main__":
    main()
