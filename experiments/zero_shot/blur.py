"""Photos shrunk with known anisotropic Gaussians: assuming bicubic, estimating the kernel, knowing it.

    python -m experiments.zero_shot.blur [--steps 500]

Writes blur.csv. Eight photos, the middle 384 px of kodak24's first odd numbers, x2; the kernels' standard deviations
are drawn between 0.8 and 2.5 px. Protocol sr_y.
"""

import argparse
import csv
import math
import os
from pathlib import Path

import numpy as np
from rich.progress import track
from torch import Tensor

from restore import image
from restore.inference import Adaptation
from restore.kernels import gaussian_kernel, shrink
from restore.metrics import protocol
from restore.opening import open_restorer
from restore.resize import resize

HERE, KODAK = Path(__file__).parent, Path(os.environ["RESTORE_DATA"]) / "kodak24"
PHOTOS = [f"kodim{k:02d}" for k in range(1, 17, 2)]
SIDE, SCALE = 384, 2


def main() -> None:
    """Every photo with every assumption."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    steps = parser.parse_args().steps
    rows = []
    for k, name in enumerate(track(PHOTOS)):
        gt = middle(image.read(KODAK / f"{name}.png").rgb())
        random = np.random.default_rng(k)
        long, short = sorted(random.uniform(0.8, 2.5, 2), reverse=True)
        kernel = gaussian_kernel(long, short, random.uniform(0, math.pi), 21)
        lq = shrink(gt, kernel, SCALE).clamp(0, 1).mul(255).round().div(255)
        row = {"image": name, "long": f"{long:.2f}", "short": f"{short:.2f}"}
        row["interpolated"] = score(resize(lq, SCALE), gt)
        for who, assumed in {"bicubic": None, "estimate": "estimate", "true": kernel.tolist()}.items():
            adaptation = Adaptation(max_steps=steps, model={"kernel": assumed})
            restorer = open_restorer("zero_shot", scale=SCALE, adaptation=adaptation)
            row[who] = score(restorer.restore(lq), gt)
        rows.append(row)
        print(row)
    with (HERE / "blur.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def middle(photo: Tensor) -> Tensor:
    """The crop in the middle."""
    top, left = ((length - SIDE) // 2 for length in photo.shape[1:])
    return photo[:, top : top + SIDE, left : left + SIDE]


def score(pred: Tensor, gt: Tensor) -> str:
    """PSNR-Y."""
    return f"{protocol('sr_y').score(pred, gt, scale=SCALE)['psnr_y']:.3f}"


if __name__ == "__main__":
    main()
