"""The classical baseline: Richardson-Lucy with one straight-line kernel, chosen by grid search on training frames.

    python -m experiments.deblur.richardson_lucy

Kernel and number of iterations are those with the best mean PSNR over the middles (384 px) of six training frames of
GoPro; the test frames are then restored whole. Writes grid.csv and richardson_lucy.csv, and the restored test frames to
outputs/richardson_lucy/. Protocol deblur_rgb.
"""

import csv
import math
from itertools import product
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from rich.progress import track
from skimage.restoration import richardson_lucy
from torch import Tensor

from experiments.data_folder import data_folder
from restore.degradations.motion_blur import draw_kernel
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage
from restore.metrics.protocols import protocol

HERE = Path(__file__).parent
FRAMES, SIDE = 6, 384
LENGTHS, ANGLES, ITERATIONS = (3, 5, 9, 13, 19, 27), range(0, 180, 30), (1, 3, 10)


def main() -> None:
    """Choose, then score."""
    every = pairs("train")
    chosen_from = [(middle(lq), middle(gt)) for _, lq, gt in every[:: len(every) // FRAMES][:FRAMES]]
    grid = list[dict[str, str]]()
    for length, angle, count in track(list(product(LENGTHS, ANGLES, ITERATIONS)), "grid"):
        kernel = line(length, angle)
        mean = fmean(score(deconvolved(lq, kernel, count), gt)[0] for lq, gt in chosen_from)
        settings = {"length": length, "angle": angle, "iterations": count}
        grid.append({key: str(value) for key, value in settings.items()} | {"psnr_rgb": f"{mean:.3f}"})
    write("grid.csv", grid)
    best = max(grid, key=lambda row: float(row["psnr_rgb"]))
    kernel, rows = line(float(best["length"]), float(best["angle"])), []
    for name, lq, gt in track(pairs("test"), "test"):
        pred = deconvolved(lq, kernel, int(best["iterations"]))
        writing.write(f"outputs/richardson_lucy/{name}.png", DecodedImage.of(pred))
        psnr, ssim = score(pred, gt)
        rows.append({"who": "richardson_lucy", "image": name, "psnr_rgb": f"{psnr:.3f}", "ssim_rgb": f"{ssim:.4f}"})
    write("richardson_lucy.csv", rows)


def pairs(split: str) -> list[tuple[str, Tensor, Tensor]]:
    """Name, blurred, sharp."""
    found = sorted((data_folder() / "gopro" / split).glob("*/blur/*.png"))
    return [
        (file.stem, reading.read(file).rgb(), reading.read(file.parent.parent / "sharp" / file.name).rgb())
        for file in found
    ]


def middle(frame: Tensor) -> Tensor:
    """The crop in the middle."""
    top, left = ((length - SIDE) // 2 for length in frame.shape[1:])
    return frame[:, top : top + SIDE, left : left + SIDE]


def line(length: float, angle: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """A straight path of that length in pixels, the angle in degrees against the rows; sums to 1."""
    offset, turn = np.linspace(-length / 2, length / 2, 200), math.radians(angle)
    path = np.stack([-offset * math.sin(turn), offset * math.cos(turn)], 1)
    return draw_kernel(path, math.ceil(length / 2) + 1).double().numpy()


def deconvolved(lq: Tensor, kernel: np.ndarray[tuple[int, int], np.dtype[np.float64]], count: int) -> Tensor:
    """Each colour by itself, with a mirrored border; float, (3, H, W)."""
    border = 2 * len(kernel)
    padded = np.pad(lq.double().numpy(), ((0, 0), (border, border), (border, border)), mode="symmetric")
    planes = [richardson_lucy(plane, kernel, num_iter=count) for plane in padded]
    return torch.from_numpy(np.stack(planes)[:, border:-border, border:-border]).float()


def score(pred: Tensor, gt: Tensor) -> tuple[float, float]:
    """PSNR and SSIM."""
    found = protocol("deblur_rgb").score(pred, gt, scale=1)
    return found["psnr_rgb"], found["ssim_rgb"]


def write(name: str, rows: list[dict[str, str]]) -> None:
    """A CSV file beside this one."""
    with (HERE / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
