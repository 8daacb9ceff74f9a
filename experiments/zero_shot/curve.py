"""PSNR-Y against seconds: ours at several budgets, and the listing as it trains.

    python -m experiments.zero_shot.curve bird butterfly

Writes curve.csv and draws curve.png. Times are processor seconds of one thread, for training and enlarging, without
starting the program and without time used by other programs. Both run in float32; each budget of ours is a separate
training, the listing's points are from one training. `note` tells where our result is bicubic because training did not
beat it.
"""

import argparse
import csv
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.zero_shot import listing
from restore.config.inference import Inference, ZeroShotTraining
from restore.image import reading
from restore.inference.load import open_restorer
from restore.metrics.protocols import protocol

HERE, SET5 = Path(__file__).parent, Path(os.environ["RESTORE_DATA"]) / "benchmarks/Set5"
SCALE = 2
STEPS = (25, 50, 100, 200, 400, 800, 1500)


def main() -> None:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="images of Set5; none: draw curve.csv again")
    names = parser.parse_args().names
    if not names:
        with (HERE / "curve.csv").open() as file:
            draw(list(csv.DictReader(file)))
        return
    torch.set_num_threads(1)
    rows = [row for name in names for row in (*ours(name), *theirs(name))]
    with (HERE / "curve.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "who", "steps", "seconds", "psnr_y", "note"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draw(rows)


def pair(name: str) -> tuple[Tensor, Tensor]:
    """lq, gt."""
    gt = reading.read(SET5 / "HR" / f"{name}.png").rgb()
    height, width = (side // SCALE * SCALE for side in gt.shape[1:])
    return reading.read(SET5 / f"LR_bicubic/X{SCALE}/{name}.png").rgb(), gt[:, :height, :width]


def score(pred: Tensor, gt: Tensor) -> str:
    """PSNR-Y."""
    return f"{protocol('sr_y').score(pred, gt, scale=SCALE)['psnr_y']:.3f}"


def row(name: str, who: str, steps: int, seconds: float, psnr_y: str, note: str = "") -> dict[str, str]:
    """A line of the table."""
    spent = {"steps": str(steps), "seconds": f"{seconds:.1f}"}
    return {"image": name, "who": who, **spent, "psnr_y": psnr_y, "note": note}


def ours(name: str) -> Iterator[dict[str, str]]:
    """One training per budget."""
    lq, gt = pair(name)
    for steps in STEPS:
        inference, training = Inference(), ZeroShotTraining(max_steps=steps, start="scratch")
        restorer = open_restorer("zero_shot", scale=SCALE, inference=inference, zero_shot=training)
        started = time.process_time()
        pred = restorer.restore(lq)
        note = "bicubic" if restorer.fell_back else ""
        yield row(name, "restore", steps, time.process_time() - started, score(pred, gt), note)


def theirs(name: str) -> Iterator[dict[str, str]]:
    """One training, measured as it goes on."""
    lq, gt = pair(name)
    for network, step, seconds in listing.training(lq, SCALE, 1, STEPS[-1], seed=0):
        if step not in STEPS:
            continue
        started = time.process_time()
        pred = listing.enlarge(network, lq, SCALE, 1)
        seconds += time.process_time() - started
        yield row(name, "listing", step, seconds, score(pred, gt))


def complete(rows: list[dict[str, str]]) -> dict[int, list[dict[str, str]]]:
    """By number of steps, where every image has them: a training ends when its learning rate has run down."""
    count = len({row["image"] for row in rows})
    by_step = {step: [row for row in rows if int(row["steps"]) == step] for step in STEPS}
    return {step: own for step, own in by_step.items() if len(own) == count}


def draw(rows: list[dict[str, str]]) -> None:
    """Means over the images."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for who, style in {"restore": "o-", "listing": "s--"}.items():
        own = [row for row in rows if row["who"] == who]
        by_step = list(complete(own).values())
        seconds = [mean(float(row["seconds"]) for row in each) for each in by_step]
        axes.plot(seconds, [mean(float(row["psnr_y"]) for row in each) for each in by_step], style, label=who)
    axes.set(
        xscale="log",
        xlabel="processor seconds",
        ylabel=f"PSNR-Y, Set5 x{SCALE}",
        title=", ".join(dict.fromkeys(r["image"] for r in rows)),
    )
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(HERE / "curve.png", dpi=120)


if __name__ == "__main__":
    main()
