"""Prints the study's tables from the CSV files beside it; `--write` puts them into README.md.

python -m experiments.performance.tables [--write]
"""

import csv
from collections.abc import Callable
from pathlib import Path

from experiments.performance import speed_tables
from experiments.readme import command
from restore.io.tables import markdown_rows

HERE = Path(__file__).parent


def read(file: str) -> list[dict[str, str]]:
    """Rows of a file."""
    with (HERE / file).open() as opened:
        return list(csv.DictReader(opened))


def pack_formats() -> str:
    """Forms on the disk, compared with whole PNGs by the fastest decoder."""
    rows = read("pack_formats.csv")
    png = next(float(row["samples_per_s"]) for row in rows if row["form"] == "whole PNG, libspng")
    lines = [["form", "crops/s", "times whole PNGs", "MB an image", "MB read for a crop, cold", "needs"]]
    for row in rows:
        speed = float(row["samples_per_s"])
        lines.append(
            [row["form"], f"{speed:.0f}", f"{speed / png:.1f}", row["mb_per_image"], row["mb_read"], row["needs"]]
        )
    return markdown_rows(lines)


def pack_loaders() -> str:
    """Training samples a second."""
    rows = read("pack_loaders.csv")
    first = float(rows[0]["samples_per_s"])
    lines = [["source", "samples/s of processor", "times whole PNGs", "by the clock: 0 workers", "1", "2"]]
    for row in rows:
        speed = float(row["samples_per_s"])
        by_clock = [f"{float(row[f'workers_{k}']):.0f}" for k in range(3)]
        lines.append([row["source"], f"{speed:.0f}", f"{speed / first:.1f}", *by_clock])
    return markdown_rows(lines)


def pack_training() -> str:
    """The default training from the pack."""
    rows = read("pack_training.csv")
    first = float(rows[0]["samples_per_s"])
    lines = [
        ["training", "samples/s", "of the first", "samples of a step, ms of processor", "share of waiting for them"]
    ]
    for row in rows:
        speed, share = float(row["samples_per_s"]), float(row["data_share"])
        lines.append([row["training"], f"{speed:.2f}", f"{speed / first:.2f}", row["ms_of_samples"], f"{share:.1%}"])
    return markdown_rows(lines)


def pack_start() -> str:
    """Seconds before a training of very many files begins."""
    rows = read("pack_start.csv")
    return markdown_rows(
        [["start", "files", "seconds"], *([row[k] for k in ("start", "files", "seconds")] for row in rows)]
    )


TABLES: dict[str, Callable[[], str]] = {
    "pack_formats": pack_formats,
    "pack_loaders": pack_loaders,
    "pack_training": pack_training,
    "pack_start": pack_start,
    **speed_tables.TABLES,
}

if __name__ == "__main__":
    command(HERE, __doc__, TABLES)
