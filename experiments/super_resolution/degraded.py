"""Makes a fixed benchmark of degraded photos of five kinds, and scores restorers on it.

    python -m experiments.super_resolution.degraded data/degraded
    python -m experiments.super_resolution.degraded data/degraded bicubic super_resolution_x2

The photos are Set14 and the first 50 of BSDS500's test part ($RESTORE_DATA), on which no weights here were trained.
Each is downscaled bicubically and then degraded once per kind, with random numbers that depend only on (seed, kind,
photo): `<folder>/<kind>/HR/<photo>.png` and `<folder>/<kind>/LR_bicubic/X2/<photo>.png`. The restorers (weights by
name, checkpoint files or baselines) are scored by `restore evaluate` into `<folder>/scores`; the table compares each
with the first. Protocol sr_y.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

from experiments.data_folder import data_folder
from experiments.super_resolution.collect import evaluate
from restore.config.inference import Inference
from restore.data.datasets import degrade
from restore.data.hr_lr_folders import find_pairs
from restore.degradations.basic import Degradation, GaussianBlur, GaussianNoise, Jpeg
from restore.degradations.camera import AnisotropicBlur
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage, to_float
from restore.image.montage import draw_sheet
from restore.inference.checkpoint_names import restorer_name
from restore.inference.load import open_restorer
from restore.io.tables import markdown_rows

# lengths in lq pixels, noise of the range [0, 1]
KINDS: Mapping[str, Sequence[Degradation]] = MappingProxyType(
    {
        "clean": (),
        "soft": (AnisotropicBlur(low=0.6, high=1.4, narrowest=0.5, linear=0.5),),
        "noisy": (GaussianNoise(low=0.02, high=0.05),),
        "jpeg_50": (Jpeg(low=50, high=50),),
        "all": (GaussianBlur(low=0.4, high=1.0), GaussianNoise(low=0.01, high=0.03), Jpeg(low=50, high=80)),
    }
)
COUNT, SEED = 50, 0  # COUNT of BSDS
COLUMNS = ["restorer", "benchmark", "image", "psnr_y", "ssim_y"]


def main() -> None:
    """Make what is missing, then score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the benchmark, outside the repository")
    parser.add_argument("restorers", nargs="*", help="what to score; the first is what the others are compared with")
    parser.add_argument("--photos", nargs="+", help="folders of sharp photos in place of Set14 and BSDS500's")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--csv", type=Path, help="write the rows of all images")
    parser.add_argument("--sheet", type=Path, help="draw a part of one photo in each kind by each restorer")
    parser.add_argument("--photo", default="comic", help="of the sheet")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sources = dict.fromkeys(given.photos or (), 10**9)
    if not given.folder.is_dir():
        make(given.folder, sources or published(), given.scale)
    if given.restorers:
        found = {name: scores(given.folder, name, given.scale) for name in given.restorers}
        print(table(found))
        if given.csv is not None:
            write(given.csv, found)
    if given.sheet is not None:
        rows = [row_of(given.folder / kind, given.photo, given.restorers, given.scale) for kind in KINDS]
        writing.write(given.sheet, DecodedImage.of(torch.cat(rows, 1)), quality=92)


def row_of(folder: Path, photo: str, restorers: Sequence[str], scale: int) -> Tensor:
    """A part of a damaged photo by each restorer, and the original."""
    lq = to_float(reading.read_rgb8(folder / f"LR_bicubic/X{scale}/{photo}.png"))
    gt = to_float(reading.read_rgb8(folder / f"HR/{photo}.png"))
    images = [open_restorer(name, scale=scale, inference=Inference(device="cpu")).restore(lq) for name in restorers]
    row = draw_sheet([each.clamp(0, 1) for each in [*images, gt]], side=64, zoom=2)
    return F.pad(row, (0, 0, 0, 4), value=1.0)


def write(path: Path, restorers: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Every image's scores."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({"restorer": name} | dict(row) for name, rows in restorers.items() for row in rows)


def published() -> dict[str, int]:
    """The folders of the photos, and how many are taken of each, from the first by name."""
    return {str(data_folder() / "benchmarks/Set14"): 14, str(data_folder() / "bsds/images/test"): COUNT}


def make(folder: Path, photos: Mapping[str, int], scale: int) -> None:
    """Degrade the photos in each kind."""
    pairs = [pair for source, count in photos.items() for pair in find_pairs(source, scale)[:count]]
    for number, pair in enumerate(track(pairs, "degrade")):
        whole = reading.read_rgb8(pair.gt)
        height, width = (side // scale * scale for side in whole.shape[1:])
        gt = whole[:, :height, :width]
        for kind, (name, degradations) in enumerate(KINDS.items()):
            lq, _ = degrade(gt, scale, degradations, np.random.default_rng([SEED, kind, number]))
            for part, image in {"HR": to_float(gt), f"LR_bicubic/X{scale}": lq}.items():
                file = folder / name / part / f"{pair.name}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                writing.write(file, DecodedImage.of(image))


def scores(folder: Path, restorer: str, scale: int) -> list[dict[str, Any]]:
    """Rows of `restore evaluate` on all kinds; stored, and reused while the weights are unchanged."""
    output = folder / "scores" / restorer_name(restorer)
    return evaluate(restorer, output, [folder / kind for kind in KINDS], f"scale={scale}")


def table(restorers: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Markdown, a line for each kind and restorer; gains are over the first restorer, image by image.

    The last column, where bicubic is among the restorers: the share of the images on which one is above it.
    """
    first = restorers[next(iter(restorers))]
    bicubic = {(row["benchmark"], row["image"]): float(row["psnr_y"]) for row in restorers.get("bicubic", ())}
    base = {(row["benchmark"], row["image"]): float(row["psnr_y"]) for row in first}
    lines = [["kind", "restorer", "PSNR-Y, dB", "SSIM-Y", "gain, dB", "least gain", "above bicubic"]]
    for kind in dict.fromkeys(row["benchmark"] for row in first):
        for name, rows in restorers.items():
            found: dict[str, list[float]] = defaultdict(list)
            for row in rows:
                if row["benchmark"] == kind:
                    found["psnr"].append(float(row["psnr_y"]))
                    found["ssim"].append(float(row["ssim_y"]))
                    found["gain"].append(float(row["psnr_y"]) - base[kind, row["image"]])
                    if bicubic:
                        found["above"].append(float(row["psnr_y"]) > bicubic[kind, row["image"]])
            gains = found["gain"]
            cells = [f"{mean(found['psnr']):.3f}", f"{mean(found['ssim']):.4f}", f"{mean(gains):+.3f}"]
            cells += [f"{min(gains):+.3f}", f"{mean(found['above']):.0%}" if bicubic else ""]
            lines.append([kind, name, *cells])
    return markdown_rows(lines)


if __name__ == "__main__":
    main()
