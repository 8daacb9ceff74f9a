"""Prints the study's tables from the CSV files beside it; `--write` puts them into README.md.

python -m experiments.translation.tables [--write]
"""

import csv
from collections.abc import Callable
from itertools import pairwise
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

from experiments.readme import command
from restore.io.tables import markdown_rows

HERE = Path(__file__).parent
Who = tuple[str, str, str]  # losses, trained, seed


def pairs() -> str:
    """Means over the test pairs, for every run."""
    rows, seconds = read("pairs.csv"), {who(row): float(row["seconds"]) for row in read("runs.csv")}
    lines = [["losses", "trained", "seed", "L1", "PSNR", "SSIM", "detail", "minutes"]]
    for each in dict.fromkeys(map(who, rows)):
        own = [row for row in rows if who(row) == each]
        scores = [
            f"{mean(float(row[column]) for row in own):.{digits}f}"
            for column, digits in {"l1": 4, "psnr_rgb": 2, "ssim_rgb": 3, "detail": 2}.items()
        ]
        time = f"{seconds[each] / 60:.1f}" if each in seconds else ""
        lines.append([*each, *scores, time])
    return markdown_rows(lines)


def baseline() -> str:
    """Paired differences, every run minus the mean image."""
    l1 = by_image("l1")
    (mean_image,) = (values for each, values in l1.items() if not each[1])
    lines = [["losses", "trained", "seed", "L1 - mean image's", "95 % interval", "pairs where it is closer"]]
    for each, values in l1.items():
        if each[1]:
            lines.append([*each, *compared(values, mean_image)])
    return markdown_rows(lines)


def staged() -> str:
    """Paired differences, staged minus at once, on the same test pairs."""
    l1 = by_image("l1")
    lines = [["losses", "seed", "L1, staged - at once", "95 % interval", "pairs where staged is closer"]]
    for losses, trained, seed in l1:
        other = (losses, "at once", seed)
        if trained == "staged" and other in l1:
            lines.append([losses, seed, *compared(l1[losses, trained, seed], l1[other])])
    return markdown_rows(lines)


def losses() -> str:
    """Paired differences, each further loss compared with the losses before it."""
    l1, detail = by_image("l1"), by_image("detail")
    order = list(dict.fromkeys(each[0] for each in l1 if each[1]))
    compared_by = ["L1, with - without the last", "95 % interval", "pairs where it is closer"]
    lines = [["trained", "seed", "losses", *compared_by, "detail"]]
    for trained, seed in dict.fromkeys(each[1:] for each in l1 if each[1]):
        for before, after in pairwise(order):
            old, new = (before, trained, seed), (after, trained, seed)
            if old in l1 and new in l1:
                gain = f"{mean(detail[old].values()):.2f} -> {mean(detail[new].values()):.2f}"
                lines.append([trained, seed, after, *compared(l1[new], l1[old]), gain])
    return markdown_rows(lines)


def compared(new: dict[str, float], old: dict[str, float]) -> list[str]:
    """Mean difference, its 95 % interval (normal approximation), share of images on which new is smaller."""
    differences = [new[name] - old[name] for name in new]
    middle, reach = mean(differences), 1.96 * stdev(differences) / sqrt(len(differences))
    won = mean(difference < 0 for difference in differences)
    return [f"{middle:+.4f}", f"{middle - reach:+.4f} to {middle + reach:+.4f}", f"{won:.0%}"]


def by_image(column: str) -> dict[Who, dict[str, float]]:
    """Run -> image -> value."""
    found: dict[Who, dict[str, float]] = {}
    for row in read("pairs.csv"):
        found.setdefault(who(row), {})[row["image"]] = float(row[column])
    return found


def steps() -> str:
    """L1 on the ten validation pairs during training."""
    rows = read("runs.csv")
    at = list(dict.fromkeys(row["step"] for row in rows))
    lines = [["losses", "trained", "seed", *(f"step {step}" for step in at)]]
    for each in dict.fromkeys(map(who, rows)):
        own = {row["step"]: float(row["l1"]) for row in rows if who(row) == each}
        lines.append([*each, *(f"{own[step]:.4f}" for step in at)])
    return markdown_rows(lines)


def emoji() -> str:
    """Means over the held-out glyphs, and paired differences from the mean colour of each kind of region."""
    rows = read("emoji.csv")
    l1: dict[str, dict[str, float]] = {}
    for row in rows:
        l1.setdefault(row["who"], {})[row["glyph"]] = float(row["l1"])
    columns = {"l1": 4, "psnr_rgb": 2, "ssim_rgb": 3}
    lines = [["output", "L1", "PSNR", "SSIM", "L1 - kind of region's", "95 % interval", "glyphs where it is closer"]]
    for each, values in l1.items():
        own = [row for row in rows if row["who"] == each]
        scores = [f"{mean(float(row[name]) for row in own):.{digits}f}" for name, digits in columns.items()]
        baseline = l1["kind of region"]
        lines.append([each, *scores, *([""] * 3 if values is baseline else compared(values, baseline))])
    return markdown_rows(lines)


def who(row: dict[str, str]) -> Who:
    """The run a row belongs to."""
    return row["losses"], row["trained"], row["seed"]


def read(name: str) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with (HERE / name).open() as file:
        return list(csv.DictReader(file))


TABLES: dict[str, Callable[[], str]] = {
    "pairs": pairs,
    "baseline": baseline,
    "staged": staged,
    "losses": losses,
    "steps": steps,
    "emoji": emoji,
}


if __name__ == "__main__":
    command(HERE, __doc__, TABLES)
