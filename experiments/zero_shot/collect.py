"""Gathers the tables of `restore evaluate` into benchmarks.csv.

python -m experiments.zero_shot.collect outputs/zero_shot/*
"""

import argparse
import csv
import json
from pathlib import Path

HERE = Path(__file__).parent
COLUMNS = ["who", "benchmark", "scale", "image", "psnr_y", "ssim_y", "seconds"]


def main() -> None:
    """One row for each image, scale and restorer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="output folders of restore evaluate")
    rows = []
    for folder in parser.parse_args().folders:
        who = json.loads((folder / "results.json").read_text())["ckpt_path"]
        scores = csv.DictReader((folder / "results.csv").open())
        seconds = csv.DictReader((folder / "seconds.csv").open())
        rows += [{"who": who} | row | times for row, times in zip(scores, seconds, strict=True)]
    with (HERE / "benchmarks.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: [row[key] for key in COLUMNS[:4]]))


if __name__ == "__main__":
    main()
