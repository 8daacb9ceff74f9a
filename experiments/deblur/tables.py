"""Prints the study's tables from the CSV files beside it; `--write` puts them into README.md.

python -m experiments.deblur.tables [--write]
"""

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from experiments.deblur import levels
from experiments.readme import command
from restore.io.tables import markdown_rows

HERE = Path(__file__).parent


def frames() -> str:
    """Every test frame."""
    rows = read("frames.csv")
    names, everyone = list(dict.fromkeys(row["image"] for row in rows)), list(dict.fromkeys(row["who"] for row in rows))
    scores = {(row["who"], row["image"]): row for row in rows}
    lines = [["frame", *everyone]]
    for name in names:
        cells = [f"{float(scores[who, name]['psnr_rgb']):.2f}" for who in everyone]
        lines.append([name, *cells])
    means = [
        " / ".join(
            f"{mean(float(scores[who, name][column]) for name in names):.{digits}f}"
            for column, digits in {"psnr_rgb": 3, "ssim_rgb": 4}.items()
        )
        for who in everyone
    ]
    blurred = [float(scores["blurred", name]["psnr_rgb"]) for name in names]
    gains = [
        [float(scores[who, name]["psnr_rgb"]) - each for name, each in zip(names, blurred, strict=True)]
        for who in everyone
    ]
    lines.append(["mean, PSNR / SSIM", *means])
    lines.append(["gain over blurred: mean (least)", *(f"{mean(g):+.3f} ({min(g):+.3f})" for g in gains)])
    return markdown_rows(lines)


def attention() -> str:
    """Rank correlation of weight and blur, by module."""
    rows = read("attention.csv")
    networks = list(dict.fromkeys(row["network"] for row in rows))
    lines = [["module", *networks]]
    for module in dict.fromkeys(row["module"] for row in rows):
        own = {row["network"]: row for row in rows if row["module"] == module}
        cells = [f"{float(own[who]['spearman']):+.3f} ({float(own[who]['photos_above_0']):.0%})" for who in networks]
        lines.append([module, *cells])
    values = {who: [abs(float(row["spearman"])) for row in rows if row["network"] == who] for who in networks}
    lines.append(["mean of sizes", *(f"{mean(each):.3f}" for each in values.values())])
    return markdown_rows(lines)


def grid() -> str:
    """The five best of the grid."""
    rows = sorted(read("grid.csv"), key=lambda row: -float(row["psnr_rgb"]))[:5]
    header = ["length, px", "angle, degrees", "iterations", "PSNR on training frames"]
    return markdown_rows([header, *(list(row.values()) for row in rows)])


def read(name: str) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with (HERE / name).open() as file:
        return list(csv.DictReader(file))


TABLES: dict[str, Callable[[], str]] = {
    "frames": frames,
    "attention": attention,
    "grid": grid,
    "levels": levels.written,
}


if __name__ == "__main__":
    command(HERE, __doc__, TABLES)
