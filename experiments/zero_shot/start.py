"""Scores zero-shot super-resolution that starts from weights trained on photos, after some steps on each image.

    python -m experiments.zero_shot.start photos benchmarks/Set5 benchmarks/Set14

The first argument is `zero_shot.start`: photos, scratch or a checkpoint. Folders lie under $RESTORE_DATA, or where
their path says. Each row has PSNR-Y without and with back-projection, of the self-ensemble of 8 views, and the
processor seconds of training and enlarging on one thread; `--lr` is the learning rate on the image, by default that of
`predict`.
Prints each row, then means, and writes all rows, beside those of other starts that the file has.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from experiments.data_folder import data_folder
from restore.config.inference import Inference, ZeroShotTraining
from restore.data.datasets import WholeImages
from restore.data.hr_lr_folders import find_pairs
from restore.inference.single_image_training import Watch, train, untrained
from restore.inference.zero_shot import ZeroShotNetworkRestorer
from restore.inference.zero_shot_start import opened_start
from restore.metrics.protocols import protocol

COLUMNS = ["start", "steps", "benchmark", "scale", "image", "psnr_y", "psnr_y_back_projected", "seconds"]


def main() -> None:
    """Score, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", help="weights, or scratch")
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--scales", nargs="+", type=int, default=[2, 3, 4])
    parser.add_argument("--steps", nargs="+", type=int, default=[0, 100], help="of each scale step; scratch takes one")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--share", type=float, help="zero_shot.start_share, by default that of `predict`")
    parser.add_argument("--one-step", action="store_true", help="reach the scale in one scale step")
    parser.add_argument("--side", type=int, help="score the middle of each image, of so many gt pixels")
    parser.add_argument("--output", type=Path, default=Path("start.csv"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for folder in given.folders:
        for scale in given.scales:
            for name, lq, gt in images(data_folder() / folder, scale, given.side):
                for steps in given.steps:
                    found = scores(lq, gt, scale, steps, given)
                    own = {"start": label(given), "steps": steps, "scale": scale, "image": name}
                    rows.append(own | {"benchmark": Path(folder).name} | found)
                    print(*(rows[-1][column] for column in COLUMNS), flush=True)
    others = list(csv.DictReader(given.output.open())) if given.output.exists() else []
    with given.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([row for row in others if row["start"] != label(given)] + rows)
    print_means(rows)


def label(given: argparse.Namespace) -> str:
    """The start, as in the table."""
    return str(given.start) if given.share is None else f"{given.start}, start_share={given.share:g}"


def images(folder: Path, scale: int, side: int | None) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, lq and gt of each image of a folder, lq as it was prepared there or made by the bicubic shrink."""
    samples = WholeImages(find_pairs(str(folder), scale), scale=scale)
    for sample in (samples[k] for k in range(len(samples))):
        lq, gt = sample["lq"], sample["gt"]
        if side is not None:
            height, width = (min(side // scale, length) for length in lq.shape[1:])
            top, left = ((length - cut) // 2 for length, cut in zip(lq.shape[1:], (height, width), strict=True))
            lq = lq[:, top : top + height, left : left + width]
            gt = gt[:, top * scale :, left * scale :][:, : height * scale, : width * scale]
        yield sample["name"], lq, gt


def scores(lq: Tensor, gt: Tensor, scale: int, steps: int, given: argparse.Namespace) -> dict[str, Any]:
    """PSNR-Y without and with back-projection, and seconds."""
    began = time.process_time()
    of_model = {"lr": given.lr, "scale_steps": [float(scale)] if given.one_step else None}
    training = ZeroShotTraining(max_steps=steps or 1, start=given.start, start_share=given.share, model=of_model)
    start = opened_start(scale, training)
    training = start.settings(training)
    model = untrained(scale, training, start.weights)
    if steps:
        train(model, lq, training, torch.device("cpu"), use_bf16=False, watch=Watch(None, None))
    spent, found = time.process_time() - began, {}
    for column, rounds in {"psnr_y": 0, "psnr_y_back_projected": 8}.items():
        began = time.process_time()
        model.network.rounds = rounds
        pred = ZeroShotNetworkRestorer("start", model.network, Inference(device="cpu")).restore(lq)
        found[column] = f"{protocol('sr_y').score(pred, gt, scale=scale)['psnr_y']:.3f}"
        found["seconds"] = f"{spent + time.process_time() - began:.1f}"
    return found


def print_means(rows: list[dict[str, Any]]) -> None:
    """By benchmark, scale and steps."""
    groups = dict.fromkeys((row["benchmark"], row["scale"], row["steps"]) for row in rows)
    for group in groups:
        own = [row for row in rows if (row["benchmark"], row["scale"], row["steps"]) == group]
        means = (f"{mean(float(row[column]) for row in own):.3f}" for column in COLUMNS[-3:])
        print("mean", *group, *means)


if __name__ == "__main__":
    main()
