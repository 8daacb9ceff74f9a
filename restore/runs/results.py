"""Tables of an evaluation: one row per image, means per benchmark, and the files that hold them."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from restore.io.files import as_json, read_mapping, write_json, write_text
from restore.io.tables import Table, records_csv

Row = dict[str, Any]
Scores = dict[str, float | None]  # by column; None means not available
Means = dict[str, dict[str, Scores]]  # restorer -> benchmark

KEYS = ("benchmark", "image", "scale", "protocol")  # columns of results.csv that precede the scores
SMALLER_IS_BETTER = ("l1",)
DIGITS = {"ssim_y": 4, "ssim_rgb": 4, "ssim_matlab3d": 4, "l1": 4, "lpips_alex": 4, "kid": 4}  # all others have 3


def means(rows: list[Row], columns: Sequence[str]) -> dict[str, Scores]:
    """Mean of the images' scores by benchmark and column; a benchmark of several sequences is followed by theirs."""
    groups: dict[str, list[Row]] = {}
    for benchmark in dict.fromkeys(row["benchmark"] for row in rows):
        own = [row for row in rows if row["benchmark"] == benchmark]
        sequences = list(dict.fromkeys(_sequence(row) for row in own))
        groups[benchmark] = own
        for sequence in sequences if len(sequences) > 1 else []:
            groups[f"{benchmark}/{sequence}"] = [row for row in own if _sequence(row) == sequence]
    return {
        name: {column: sum(row[column] for row in own) / len(own) for column in columns} for name, own in groups.items()
    }


def _sequence(row: Row) -> str:
    """The part of a frame's name before the slash; all images without one form a single group."""
    return str(row["image"]).rpartition("/")[0]


def table(means: Means, scale: int, name: str) -> Table:
    """One line per restorer and benchmark, with a column for the gain of the first score over the second restorer's."""
    first, *others = means
    columns = list(next(iter(means[first].values())))
    rows = []
    for who, benchmarks in means.items():
        for benchmark, scores in benchmarks.items():
            gain = _gain(columns[0], scores, means[others[0]][benchmark]) if who == first and others else ""
            rows.append([who, benchmark, *(as_text(column, scores[column]) for column in columns), gain])
    return Table("", [f"x{scale}, {name}", "benchmark", *columns, f"gain over {others[0]}" if others else ""], rows)


def as_text(column: str, value: float | None) -> str:
    """Format a score with the digits of its column."""
    return "not available" if value is None else f"{value:.{DIGITS.get(column, 3)}f}"


def _gain(column: str, scores: Scores, other: Scores) -> str:
    """The improvement, positive also where smaller scores are better."""
    mine, theirs = scores[column], other[column]
    assert mine is not None
    assert theirs is not None
    difference = theirs - mine if column in SMALLER_IS_BETTER else mine - theirs
    return f"{difference:+.{DIGITS.get(column, 3)}f}"


def write(folder: Path, rows: list[Row], columns: Sequence[str], facts: Row, table: str) -> None:
    """Write results.csv, whose bytes depend only on images and weights, seconds.csv, results.json and results.md."""
    write_text(folder / "results.csv", per_image_csv(rows, columns))
    seconds = [row | {"seconds": f"{row['seconds']:.3f}"} for row in rows]
    write_text(folder / "seconds.csv", records_csv(seconds, ["benchmark", "image", "seconds"]))
    write_json(folder / "results.json", facts, indent=2)
    write_text(folder / "results.md", table)


def number(value: object) -> float | None:
    """The number in a cell; None for other text, as in a damaged file."""
    try:
        return float(str(value))
    except ValueError:
        return None


def baseline(folder: Path) -> tuple[str, list[dict[str, str]]]:
    """Name of the baseline, and its row for each image, from a run folder; empty without a baseline."""
    file = folder / "baseline.csv"
    if not file.is_file():
        return "", []
    with file.open(newline="", encoding="utf-8") as stream:
        rows = [{key: value or "" for key, value in row.items()} for row in csv.DictReader(stream)]
    name = rows[0].get("baseline", "") if rows else ""
    return "input" if name == "identity" else name, rows


def baseline_means(folder: Path) -> dict[str, float]:
    """Mean scores of the baseline, keyed by ``<set>/<column>``."""
    _, rows = baseline(folder)
    found: dict[str, list[float]] = {}
    for row in rows:
        for column, value in row.items():
            score = number(value) if column not in (*KEYS, "baseline") else None
            if score is not None:
                found.setdefault(f"{row.get('benchmark')}/{column}", []).append(score)
    return {key: sum(values) / len(values) for key, values in found.items()}


def earlier(folder: Path) -> Row | None:
    """The content of an existing results.json; empty if it is damaged, None if there is none."""
    file = folder / "results.json"
    if not file.is_file():
        return None
    try:
        return read_mapping(file)
    except ValueError:
        return {}


def per_image_csv(rows: list[Row], columns: Sequence[str]) -> str:
    """The text of results.csv: one line per image, scores with six decimals."""
    numbers = [row | {column: f"{row[column]:.6f}" for column in columns} for row in rows]
    return records_csv(numbers, [*KEYS, *columns])


def _number(value: Any) -> Any:
    """JSON has no infinity, the PSNR of identical images, so it is stored as a word."""
    return float(value) if value in ("inf", "-inf", "nan") else value


class Partial:
    """Rows of an unfinished evaluation, kept in a file so that an interrupted evaluation can continue.

    Args:
        path: the file.
        settings: everything that the rows depend on; rows made with other settings are dropped.
    """

    def __init__(self, path: Path, settings: Row) -> None:
        self.path, self.settings = path, as_json(settings)
        kept = read_mapping(path) if path.exists() else {}
        rows: dict[str, Row] = kept.get("rows", {}) if kept.get("settings") == self.settings else {}
        self.rows = {key: {name: _number(value) for name, value in row.items()} for key, row in rows.items()}

    def add(self, key: str, row: Row) -> None:
        """Store a finished row."""
        self.rows[key] = row
        write_json(self.path, {"settings": self.settings, "rows": self.rows})

    def forget(self) -> None:
        """Delete the file once the evaluation is complete."""
        self.path.unlink(missing_ok=True)


class Paired(NamedTuple):
    """How much better one restorer is than another on the same images.

    Attributes:
        mean: mean of the per-image differences.
        low, high: 95 % bootstrap interval of the mean over images.
        wins: share of images with a positive difference.
    """

    mean: float
    low: float
    high: float
    wins: float


def paired(differences: Sequence[float], *, resamples: int = 10_000) -> Paired:
    """Percentile bootstrap of per-image differences (Efron and Tibshirani, 1993, chapter 13), the same at every call.

    The interval applies to other images of the same kind, not to other training seeds.

    Raises:
        ValueError: ``differences`` is empty.
    """
    if not len(differences):
        raise ValueError("no image has a score from both, so there is nothing to compare")
    values = np.asarray(differences, dtype=np.float64)
    drawn = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[drawn].mean(1), [2.5, 97.5])
    return Paired(float(values.mean()), float(low), float(high), float((values > 0).mean()))
