"""Prints the study's tables from the CSV files beside it; `--write` puts them into README.md.

python -m experiments.super_resolution.tables [--write]
"""

import csv
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from experiments.readme import command
from experiments.super_resolution.degraded import table
from restore.io.tables import markdown_rows
from restore.runs.results import paired

HERE = Path(__file__).parent
KINDS = ("gain", "self", "second_order", "none")


def scores() -> str:
    """Mean PSNR-Y of each seed."""
    rows = read("ablation.csv")
    seeds, benchmarks = unique(rows, "seed"), unique(rows, "benchmark")
    header = [f"{benchmark}, seed {seed}" for benchmark in benchmarks for seed in seeds]
    lines = [["attention", *header]]
    for kind in KINDS:
        cells = []
        for benchmark in benchmarks:
            for seed in seeds:
                own = select(rows, attention=kind, seed=seed, benchmark=benchmark)
                cells.append(f"{average(own, 'psnr_y'):.3f} / {average(own, 'ssim_y'):.4f}")
        lines.append([kind, *cells])
    return markdown_rows(lines)


def differences() -> str:
    """Gain compared with the others, image by image, averaged over seeds."""
    rows = read("ablation.csv")
    lines = [["gain minus", "benchmark", "dB", "95 % interval over images", "images won", "each seed"]]
    for kind in KINDS[1:]:
        for benchmark in unique(rows, "benchmark"):
            by_seed = [differences_of(rows, kind, benchmark, seed) for seed in unique(rows, "seed")]
            per_image = [mean(values) for values in zip(*by_seed, strict=True)]
            found = paired(per_image)
            each = ", ".join(f"{mean(values):+.3f}" for values in by_seed)
            interval = f"{found.low:+.3f} to {found.high:+.3f}"
            lines.append([kind, benchmark, f"{found.mean:+.3f}", interval, f"{found.wins:.0%}", each])
    return markdown_rows(lines)


def entropies() -> str:
    """Bits of the feature maps, head first, averaged over seeds."""
    rows = read("entropy.csv")
    depths = unique(rows, "depth")
    lines = [["attention", "head", *(f"group {d}" for d in depths[1:])]]
    for kind in KINDS:
        cells = [f"{average(select(rows, attention=kind, depth=depth), 'bits'):.2f}" for depth in depths]
        lines.append([kind, *cells])
    return markdown_rows(lines)


def weights() -> str:
    """What the shipped weights reach."""
    rows = read("weights.csv")
    benchmarks = unique(rows, "benchmark")
    lines = [["weights", "self-ensemble", *benchmarks]]
    for name in unique(rows, "weights"):
        for ensemble in ("False", "True"):
            own = select(rows, weights=name, self_ensemble=ensemble)
            by_set = [select(own, benchmark=benchmark) for benchmark in benchmarks]
            cells = [f"{average(each, 'psnr_y'):.3f} / {average(each, 'ssim_y'):.4f}" for each in by_set]
            lines.append([f"`{name}`", "yes" if ensemble == "True" else "no", *cells])
    return markdown_rows(lines)


def degraded(scale: int) -> str:
    """Scores by kind of damage."""
    rows = read(f"degraded_x{scale}.csv")
    return table({name: select(rows, restorer=name) for name in unique(rows, "restorer")})


TABLES: dict[str, Callable[[], str]] = {
    "scores": scores,
    "differences": differences,
    "entropies": entropies,
    "weights": weights,
    "degraded_x2": lambda: degraded(2),
    "degraded_x4": lambda: degraded(4),
}

Rows = list[dict[str, str]]


def differences_of(rows: Rows, kind: str, benchmark: str, seed: str) -> list[float]:
    """Gain's PSNR-Y minus another's, image by image, for one seed."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row in select(rows, benchmark=benchmark, seed=seed):
        found[row["attention"]][row["image"]] = float(row["psnr_y"])
    return [found["gain"][image] - found[kind][image] for image in found["gain"]]


def read(name: str) -> Rows:
    """A CSV file beside this script."""
    with (HERE / name).open(newline="") as file:
        return list(csv.DictReader(file))


def select(rows: Rows, **values: str) -> Rows:
    """Rows with these values."""
    return [row for row in rows if all(row[key] == value for key, value in values.items())]


def unique(rows: Rows, column: str) -> list[str]:
    """Values in order of appearance."""
    return list(dict.fromkeys(row[column] for row in rows))


def average(rows: Rows, column: str) -> float:
    """Mean of a column."""
    return mean(float(row[column]) for row in rows)


if __name__ == "__main__":
    command(HERE, __doc__, TABLES)
