"""Classical baselines, which need no training, on a benchmark of `experiments.deblur.benchmark`.

    python -m experiments.deblur.classical data/motion_blur outputs/classical

Richardson-Lucy and Wiener deconvolution with one straight kernel per level, and an unsharp mask. For each level, the
settings with the best mean PSNR on its first six images are used, which flatters the baselines, because these images
are scored as well. Writes `<output>/<method>/results.csv`, read by `experiments.deblur.levels`; prints the settings.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import kornia
import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from experiments.deblur.benchmark import LEVELS
from experiments.deblur.richardson_lucy import deconvolved, line
from restore.image import reading
from restore.metrics import protocols

CHOSEN_FROM = 6
ANGLES = (0, 45, 90, 135)

Settings = tuple[Any, ...]
Images = list[tuple[str, Tensor, Tensor]]  # name, blurred, sharp


def main() -> None:
    """Choose and score, level by level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path, help="the benchmark's folder")
    parser.add_argument("output", type=Path, help="folder of the results")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name, method in METHODS.items():
        rows = []
        for level, lengths in LEVELS.items():
            every = images(given.benchmark, level)
            grid = track(grid_of(name, lengths), f"{name}, {level}")
            best = max((psnr_of(method, every[:CHOSEN_FROM], each), each) for each in grid)[1]
            print(f"{name}, {level}: {best}")
            rows += [{"image": f"{level}/{n}", "psnr_rgb": f"{psnr(method(b, *best), s):.6f}"} for n, b, s in every]
        write(given.output / name / "results.csv", rows)


def images(benchmark: Path, level: str) -> Images:
    """Those of one level, by name."""
    folder = benchmark / "test" / level
    return [
        (file.stem, reading.read(file).rgb(), reading.read(folder / "sharp" / file.name).rgb())
        for file in sorted((folder / "blur").glob("*.png"))
    ]


def wiener(blurred: Tensor, length: float, angle: float, noise: float) -> Tensor:
    """Divided by a straight kernel where that is above the noise (Wiener, 1949), with a mirrored border."""
    kernel = line(length, angle)
    border = 2 * len(kernel)
    padded = np.pad(blurred.double().numpy(), ((0, 0), (border, border), (border, border)), mode="symmetric")
    centred = np.zeros(padded.shape[1:])
    centred[: len(kernel), : len(kernel)] = kernel
    response = np.fft.rfft2(np.roll(centred, (-(len(kernel) // 2),) * 2, (0, 1)))
    inverse = response.conj() / (np.abs(response) ** 2 + noise)
    restored = np.fft.irfft2(np.fft.rfft2(padded) * inverse * (1 + noise), s=padded.shape[1:])  # keeps the mean
    return torch.from_numpy(restored[:, border:-border, border:-border]).float().clamp(0, 1)


def lucy(blurred: Tensor, length: float, angle: float, count: int) -> Tensor:
    """Richardson-Lucy with a straight kernel."""
    return deconvolved(blurred, line(length, angle), count)


def unsharp(blurred: Tensor, sigma: float, amount: float) -> Tensor:
    """Add the difference to a Gaussian-blurred image."""
    side = 2 * round(3 * sigma) + 1
    size, sigmas = (side, side), (sigma, sigma)
    smooth: Tensor = kornia.filters.gaussian_blur2d(blurred[None], size, sigmas, border_type="replicate")[0]
    return (blurred + amount * (blurred - smooth)).clamp(0, 1)


def lengths_of(level: tuple[float, float]) -> Sequence[float]:
    """Lengths to try: the bounds of the level, their middle, and much shorter ones, which do less harm."""
    low, high = level
    return sorted({max(1.0, length) for length in (high / 6, high / 3, (low + high) / 2, high)})


METHODS: dict[str, Callable[..., Tensor]] = {"unsharp_mask": unsharp, "wiener": wiener, "richardson_lucy": lucy}


def grid_of(method: str, level: tuple[float, float]) -> list[Settings]:
    """Settings to try."""
    if method == "unsharp_mask":
        return list(product((0.7, 1.5, 3.0), (0.05, 0.2, 0.5, 1.0, 2.0)))
    return list(product(lengths_of(level), ANGLES, (0.01, 0.03, 0.1, 0.3) if method == "wiener" else (1, 3, 10)))


def psnr_of(method: Callable[..., Tensor], some: Images, settings: Settings) -> float:
    """Mean over some images."""
    return mean(psnr(method(blurred, *settings), sharp) for _, blurred, sharp in some)


def psnr(pred: Tensor, gt: Tensor) -> float:
    """That of the protocol deblur_rgb, without its SSIM, which takes longer than most of the methods."""
    return protocols.psnr(protocols.to_8bit(pred), protocols.to_8bit(gt))


def write(file: Path, rows: list[dict[str, str]]) -> None:
    """A CSV file, its folder made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
