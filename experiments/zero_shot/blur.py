"""Photos shrunk with known anisotropic Gaussians: assuming bicubic, estimating the kernel, knowing it.

    python -m experiments.zero_shot.blur

Writes blur.csv; a photo that is in it is not done again. Eight photos, the middle 384 px of kodak24's first odd
numbers, x2; the kernels' standard deviations are drawn between 0.8 and 2.5 px. Protocol sr_y.
"""

import csv
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from torch import Tensor

from restore.config.inference import Inference, ZeroShotTraining
from restore.image import reading
from restore.inference.load import open_restorer
from restore.metrics.protocols import protocol
from restore.ops.blur_kernels import gaussian_kernel, shrink
from restore.ops.resize import resize

HERE, KODAK = Path(__file__).parent, Path(os.environ["RESTORE_DATA"]) / "kodak24"
PHOTOS = [f"kodim{k:02d}" for k in range(1, 17, 2)]
SIDE, SCALE, STEPS = 384, 2, 300
COLUMNS = ["image", "long", "short", "interpolated", "bicubic", "estimate", "generator", "true"]


def main() -> None:
    """Every photo with every assumption."""
    path = HERE / "blur.csv"
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    for k, name in enumerate(track(PHOTOS)):
        if name not in {row["image"] for row in rows}:
            rows.append(compared(k, name))
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


def compared(k: int, name: str) -> dict[str, str]:
    """One photo's row."""
    gt = middle(reading.read(KODAK / f"{name}.png").rgb())
    random = np.random.default_rng(k)
    long, short = sorted(random.uniform(0.8, 2.5, 2), reverse=True)
    kernel = gaussian_kernel(long, short, random.uniform(0, math.pi), 21)
    lq = rounded(shrink(gt, kernel, SCALE))
    assumptions: dict[str, dict[str, Any]] = {
        "bicubic": {},
        "estimate": {"kernel": "estimate"},
        "generator": {"kernel": "estimate", "kernel_steps": 500},
        "true": {"kernel": kernel.tolist()},
    }
    row = {"image": name, "long": f"{long:.2f}", "short": f"{short:.2f}"}
    row["interpolated"] = score(resize(lq, SCALE), gt)
    return row | {who: score(enlarged(lq, STEPS, settings), gt) for who, settings in assumptions.items()}


def enlarged(lq: Tensor, steps: int, model: dict[str, Any], data: dict[str, Any] | None = None) -> Tensor:
    """By zero-shot super-resolution, in bfloat16."""
    training = ZeroShotTraining(max_steps=steps, start="scratch", model=model, data=data or {})
    return open_restorer("zero_shot", scale=SCALE, zero_shot=training, inference=Inference(precision="bf16")).restore(
        lq
    )


def middle(photo: Tensor) -> Tensor:
    """The crop in the middle."""
    top, left = ((length - SIDE) // 2 for length in photo.shape[1:])
    return photo[:, top : top + SIDE, left : left + SIDE]


def rounded(photo: Tensor) -> Tensor:
    """To 8 bit, as in a file."""
    return photo.clamp(0, 1).mul(255).round().div(255)


def score(pred: Tensor, gt: Tensor) -> str:
    """PSNR-Y."""
    return f"{protocol('sr_y').score(pred, gt, scale=SCALE)['psnr_y']:.3f}"


if __name__ == "__main__":
    main()
