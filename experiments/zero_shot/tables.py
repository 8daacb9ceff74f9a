"""Prints the study's tables from the CSV files beside it; `--write` puts them into README.md.

python -m experiments.zero_shot.tables [--write]
"""

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from experiments.readme import command
from restore.io.tables import markdown_rows

HERE = Path(__file__).parent
# Shocher, Cohen, Irani, CVPR 2018, table 1
PUBLISHED = {
    ("Set5", "2"): "37.37 / .9570",
    ("Set5", "3"): "33.42 / .9188",
    ("Set5", "4"): "31.13 / .8796",
    ("Set14", "2"): "33.00 / .9108",
    ("Set14", "3"): "29.80 / .8304",
    ("Set14", "4"): "28.01 / .7651",
}


def benchmarks() -> str:
    """Means, the published numbers, and the image that gained least."""
    rows = read("benchmarks.csv")
    lines = [["benchmark", "bicubic", "zero-shot", "published", "least gain over bicubic", "seconds per image"]]
    for (benchmark, scale), published in PUBLISHED.items():
        ours, bicubic = (
            {
                row["image"]: row
                for row in rows
                if (row["who"], row["benchmark"], row["scale"]) == (who, benchmark, scale)
            }
            for who in ("zero_shot", "bicubic")
        )
        gains = {name: float(ours[name]["psnr_y"]) - float(bicubic[name]["psnr_y"]) for name in ours}
        least = min(gains, key=lambda name: gains[name])
        seconds = mean(float(row["seconds"]) for row in ours.values())
        scores = [f"{benchmark} x{scale}", means(bicubic), means(ours), published]
        lines.append([*scores, f"{gains[least]:+.2f} ({least})", f"{seconds:.0f}"])
    return markdown_rows(lines)


def means(rows: dict[str, dict[str, str]]) -> str:
    """PSNR-Y / SSIM-Y."""
    psnr, ssim = (mean(float(row[column]) for row in rows.values()) for column in ("psnr_y", "ssim_y"))
    return f"{psnr:.2f} / {ssim:.4f}".replace("/ 0", "/ ")


def curve() -> str:
    """PSNR-Y and seconds by steps, ours and the listing's, means over the images."""
    rows = read("curve.csv")
    steps = sorted({int(row["steps"]) for row in rows})
    count = len({row["image"] for row in rows})
    lines = [["steps", *map(str, steps)]]
    for who in dict.fromkeys(row["who"] for row in rows):
        by_step = [[row for row in rows if row["who"] == who and int(row["steps"]) == step] for step in steps]
        by_step = [each if len(each) == count else [] for each in by_step]  # a training may end before
        for column, digits in {"seconds": 0, "psnr_y": 2}.items():
            cells = [f"{mean(float(row[column]) for row in each):.{digits}f}" if each else "" for each in by_step]
            if column == "psnr_y":
                fallen = [any(row["note"] for row in each) for each in by_step]
                cells = [f"{cell} (bicubic)" if fell else cell for cell, fell in zip(cells, fallen, strict=True)]
            lines.append([f"{who}, {column}", *cells])
    return markdown_rows(lines)


def blur() -> str:
    """Each photo, and the means."""
    rows = read("blur.csv")
    who = {"interpolated": "bicubic", "bicubic": "zero-shot", "estimate": "estimated", "generator": "with generator"}
    who["true"] = "true kernel"
    lines = [["photo", "deviations, px", *who.values()]]
    for row in rows:
        lines.append([row["image"], f"{row['long']}, {row['short']}", *(row[key] for key in who)])
    averages = {key: mean(float(row[key]) for row in rows) for key in who}
    lines.append(["mean", "", *(f"{value:.3f}" for value in averages.values())])
    gains = [f"{averages[key] - averages['bicubic']:+.3f}" for key in ("estimate", "generator", "true")]
    lines.append(["over zero-shot", "", "", "", *gains])
    return markdown_rows(lines)


def unknown() -> str:
    """Means by kind of damage: as it is, and with what is measured on the image."""
    lines = [["damage", "found on", "bicubic", "nothing assumed", "auto", "gain", "least gain"]]
    rows = read("unknown_photos.csv")
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        averages = [mean(float(row[column]) for row in own) for column in ("interpolated", "plain", "auto")]
        gains = [float(row["auto"]) - float(row["plain"]) for row in own]
        found = f"{sum(bool(row['found']) for row in own)} of {len(own)}"
        scores = [f"{value:.2f}" for value in averages]
        lines.append([kind, found, *scores, f"{mean(gains):+.2f}", f"{min(gains):+.2f}"])
    return markdown_rows(lines)


def start() -> str:
    """Means by steps on each image, from trained weights and from scratch."""
    rows = read("start.csv")
    steps = sorted({int(row["steps"]) for row in rows})
    lines = [["benchmark", "start", *(f"{each} steps" for each in steps)]]
    for benchmark, scale, who in dict.fromkeys((row["benchmark"], row["scale"], row["start"]) for row in rows):
        cells = []
        for each in steps:
            key = {"benchmark": benchmark, "scale": scale, "start": who, "steps": str(each)}
            own = [row for row in rows if key.items() <= row.items()]
            psnr = [mean(float(row[column]) for row in own) for column in ("psnr_y_back_projected", "seconds") if own]
            cells.append(f"{psnr[0]:.2f} ({psnr[1]:.0f} s)" if own else "")
        lines.append([f"{benchmark} x{scale}", who, *cells])
    return markdown_rows(lines)


def hard() -> str:
    """The made hard case."""
    return markdown_rows([["enlarged by", "PSNR-Y"], *([row["who"], row["psnr_y"]] for row in read("hard.csv"))])


def read(name: str) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with (HERE / name).open() as file:
        return list(csv.DictReader(file))


TABLES: dict[str, Callable[[], str]] = {
    "benchmarks": benchmarks,
    "curve": curve,
    "blur": blur,
    "start": start,
    "unknown": unknown,
    "hard": hard,
}


if __name__ == "__main__":
    command(HERE, __doc__, TABLES)
