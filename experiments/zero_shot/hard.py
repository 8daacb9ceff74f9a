"""A hard synthetic case: a photo blurred, shrunk, made noisy and saved as JPEG, then enlarged again.

    python -m experiments.zero_shot.hard

The middle 384 px of kodim19, an anisotropic Gaussian (2.0 and 1.0 px), x2, Gaussian noise of 2 levels of 255, JPEG of
quality 85. Writes hard.csv and hard.png. Protocol sr_y.
"""

import csv
import io
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from experiments.zero_shot.blur import HERE, KODAK, SCALE, enlarged, middle, rounded, score
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage
from restore.ops.blur_kernels import gaussian_kernel, shrink
from restore.ops.resize import resize

NOISE, QUALITY, STEPS, SHOWN = 2 / 255, 85, 600, 96


def main() -> None:
    """Enlarge it under several assumptions."""
    gt = middle(reading.read(KODAK / "kodim19.png").rgb())
    kernel = gaussian_kernel(2.0, 1.0, math.pi / 6, 21)
    lq = damaged(shrink(gt, kernel, SCALE))
    noisy = {"noise": 0.0125}
    assumptions: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "zero-shot, nothing assumed": ({}, {}),
        "zero-shot, noise": ({}, noisy),
        "zero-shot, noise, estimated kernel": ({"kernel": "estimate"}, noisy),
        "zero-shot, noise, true kernel": ({"kernel": kernel.tolist()}, noisy),
    }
    found = {"bicubic": resize(lq, SCALE)}
    found |= {who: enlarged(lq, STEPS, *settings) for who, settings in assumptions.items()}
    with (HERE / "hard.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["who", "psnr_y"])
        writer.writerows([who, score(pred, gt)] for who, pred in found.items())
    draw([F.interpolate(lq[None], scale_factor=SCALE)[0], *found.values(), gt])


def damaged(small: Tensor) -> Tensor:
    """Noise, then JPEG."""
    noise = torch.randn(small.shape, generator=torch.Generator().manual_seed(0), dtype=small.dtype)
    levels = rounded(small + NOISE * noise).mul(255).byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "JPEG", quality=QUALITY)
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1).float() / 255


def draw(images: list[Tensor]) -> None:
    """Parts of all, side by side, twice enlarged."""
    top = left = (images[0].shape[1] - SHOWN) // 2
    parts = [each[:, top : top + SHOWN, left : left + SHOWN].float().clamp(0, 1) for each in images]
    row = torch.cat([F.pad(part, (0, 4), value=1.0) for part in parts], 2)[..., :-4]
    writing.write(HERE / "hard.png", DecodedImage.of(F.interpolate(row[None], scale_factor=2)[0]))


if __name__ == "__main__":
    main()
