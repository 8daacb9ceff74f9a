"""Photos of unknown blur, noise and JPEG: zero-shot as it is, and with `zero_shot.degradation=auto`.

    python -m experiments.zero_shot.unknown photos

The middle 320 px of the first eight photos of the test part of BSDS500 ($RESTORE_DATA), shrunk by two: bicubically, or
with an anisotropic Gaussian, a disk, a box or a path of motion; then with noise of 0.01, or as JPEG of quality 75, or
both. The argument is `zero_shot.start`. Writes unknown_<start>.csv; a photo that is in it is not done again. Protocol
sr_y.
"""

import argparse
import csv
import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

from experiments.data_folder import data_folder
from restore.config.inference import Inference, ZeroShotTraining
from restore.degradations.motion_blur import draw_kernel, draw_path
from restore.image import reading
from restore.inference.load import open_restorer
from restore.metrics.protocols import protocol
from restore.models.zero_shot.degradation import measured
from restore.ops import blur_kernels
from restore.ops.resize import resize

HERE = Path(__file__).parent
SIDE, SCALE, COUNT, NOISE, QUALITY = 320, 2, 8, 0.01, 75
COLUMNS = ["kind", "image", "found", "interpolated", "plain", "auto"]


def main() -> None:
    """Every kind of damage, every photo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", help="photos, scratch or a checkpoint")
    parser.add_argument("--steps", type=int, help="as zero_shot.max_steps")
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS], default=[*KINDS])
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = given.output or HERE / f"unknown_{Path(given.start).stem}.csv"
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    photos = sorted((data_folder() / "bsds/images/test").glob("*.jpg"))[:COUNT]
    todo = [(kind, number, photo) for kind in given.kinds for number, photo in enumerate(photos)]
    for kind, number, photo in track(todo):
        if (kind, photo.stem) not in {(row["kind"], row["image"]) for row in rows}:
            rows.append({"kind": kind, "image": photo.stem} | compared(photo, kind, number, given.start, given.steps))
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


def compared(photo: Path, kind: str, number: int, start: str, steps: int | None) -> dict[str, str]:
    """PSNR-Y by each way of enlarging; where nothing is found on the image, the two are the same training."""
    gt = middle(reading.read(photo).rgb(), SIDE)
    lq = KINDS[kind](gt, np.random.default_rng([number, list(KINDS).index(kind)]))
    found = measured(lq, SCALE).notes
    scores = {"found": "; ".join(f"{name} {text}" for name, text in found.items())}
    scores |= {"interpolated": score(resize(lq, SCALE), gt), "plain": score(enlarged(lq, start, steps, "given"), gt)}
    return scores | {"auto": score(enlarged(lq, start, steps, "auto"), gt) if found else scores["plain"]}


def enlarged(lq: Tensor, start: str, steps: int | None, degradation: str) -> Tensor:
    """By zero-shot super-resolution."""
    training = ZeroShotTraining(start=start, max_steps=steps, degradation=degradation)
    return open_restorer("zero_shot", scale=SCALE, zero_shot=training, inference=Inference(device="cpu")).restore(lq)


# --- the kinds of damage: gt, random numbers -> lq ---


def blurred(gt: Tensor, random: np.random.Generator) -> Tensor:
    """By an anisotropic Gaussian of 1.2 to 2.5 px along its longer axis, as 8 bit."""
    long = random.uniform(1.2, 2.5)
    return by_kernel(gt, blur_kernels.gaussian_kernel(long, random.uniform(0.8, long), random.uniform(0, math.pi), 21))


def disk(gt: Tensor, random: np.random.Generator) -> Tensor:
    """Out of focus: a disk of 2.5 to 4.5 px radius."""
    radius, offset = random.uniform(2.5, 4.5), torch.arange(-6, 7, dtype=torch.float64)
    distance = (offset[:, None] ** 2 + offset**2).sqrt()
    return by_kernel(gt, (radius + 0.5 - distance).clamp(0, 1))


def box(gt: Tensor, random: np.random.Generator) -> Tensor:
    """A square of 5 to 7 px."""
    side = int(random.choice([5, 7]))
    return by_kernel(gt, torch.ones(side, side, dtype=torch.float64))


def motion(gt: Tensor, random: np.random.Generator) -> Tensor:
    """A path of 5 to 9 px, softened by half a pixel."""
    kernel = draw_kernel(draw_path(random.uniform(5, 9), random), 8).double()
    soft = blur_kernels.gaussian_kernel(0.8, 0.8, 0.0, 9)
    return by_kernel(gt, torch.nn.functional.conv2d(kernel[None, None], soft[None, None], padding=4)[0, 0])


def by_kernel(gt: Tensor, kernel: Tensor) -> Tensor:
    """Blurred, shrunk, as 8 bit."""
    return rounded(blur_kernels.shrink(gt, blur_kernels.centred(kernel / kernel.sum()), SCALE))


def noisy(lq: Tensor, random: np.random.Generator) -> Tensor:
    """With white noise."""
    return rounded(lq + NOISE * torch.from_numpy(random.standard_normal(lq.shape)).float())


def as_jpeg(lq: Tensor) -> Tensor:
    """Saved as JPEG and read again."""
    file = io.BytesIO()
    Image.fromarray(lq.mul(255).byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=QUALITY)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255


def clean(gt: Tensor, random: np.random.Generator) -> Tensor:
    """Shrunk bicubically, as 8 bit."""
    return rounded(resize(gt, 1 / SCALE))


KINDS: dict[str, Callable[[Tensor, np.random.Generator], Tensor]] = {
    "clean": clean,
    "blurred": blurred,
    "disk": disk,
    "box": box,
    "motion": motion,
    "noisy": lambda gt, random: noisy(clean(gt, random), random),
    "JPEG": lambda gt, random: as_jpeg(clean(gt, random)),
    "all": lambda gt, random: as_jpeg(noisy(blurred(gt, random), random)),
}


def middle(photo: Tensor, side: int) -> Tensor:
    """The crop in the middle."""
    top, left = ((length - side) // 2 for length in photo.shape[1:])
    return photo[:, top : top + side, left : left + side]


def rounded(photo: Tensor) -> Tensor:
    """To 8 bit, as in a file."""
    return photo.clamp(0, 1).mul(255).round().div(255)


def score(pred: Tensor, gt: Tensor) -> str:
    """PSNR-Y."""
    return f"{protocol('sr_y').score(pred, gt, scale=SCALE)['psnr_y']:.3f}"


if __name__ == "__main__":
    main()
