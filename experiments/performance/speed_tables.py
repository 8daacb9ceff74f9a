"""The study's tables of one image and a training step, from the CSV files beside it; draws ratios.png.

python -m experiments.performance.speed_tables
"""

import csv
from collections.abc import Callable

from experiments.performance.peers import HERE
from restore.io.tables import markdown_rows

Rows = list[dict[str, str]]


def inference() -> str:
    """Seconds, and as a ratio to onnxruntime."""
    rows = read("inference.csv")
    lines = [["network, image", "way", "processor seconds", "ratio to onnxruntime", "processor"]]
    for row in rows:
        cells = [f"`{row['network']}`, {row['image']}", row["way"], f"{float(row['seconds']):.2f}"]
        lines.append([*cells, f"{to_onnxruntime(rows, row):.2f}", row["processor"]])
    return markdown_rows(lines)


def to_onnxruntime(rows: Rows, row: dict[str, str]) -> float:
    """Of a row's seconds, to those of the same image."""
    (peer,) = (each for each in rows if (each["network"], each["way"]) == (row["network"], "onnxruntime"))
    return float(row["seconds"]) / float(peer["seconds"])


def step() -> str:
    """Seconds, and as a ratio to RCAN in the better layout."""
    rows = read("step.csv")
    best = min((float(row["seconds"]) for row in rows if row["network"] == "RCAN"), default=1.0)
    lines = [["network", "layout", "parameters", "processor seconds", "ratio to RCAN's better layout", "processor"]]
    for row in rows:
        seconds = float(row["seconds"])
        cells = [row["network"], row["layout"], row["parameters"], f"{seconds:.3f}", f"{seconds / best:.2f}"]
        lines.append([*cells, row["processor"]])
    return markdown_rows(lines)


def profile() -> str:
    """Share of a step by kind of operation."""
    rows = read("profile.csv")
    columns = list(dict.fromkeys((row["network"], row["layout"]) for row in rows))
    lines = [["kind of operation", *(f"{network}, {layout}" for network, layout in columns), "kernels of oneDNN"]]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        cells, kernels = [], list[str]()
        for column in columns:
            own = [row for row in rows if (row["network"], row["layout"]) == column]
            whole = sum(float(row["milliseconds"]) for row in own)
            found = [row for row in own if row["kind"] == kind]
            cells.append(f"{sum(float(row['milliseconds']) for row in found) / whole:.1%}")
            kernels += [name for row in found for name in row["kernels"].split()]
        lines.append([kind, *cells, ", ".join(f"`{name}`" for name in dict.fromkeys(kernels))])
    return markdown_rows(lines)


TABLES: dict[str, Callable[[], str]] = {
    "inference": inference,
    "step": step,
    "profile": profile,
}


def read(name: str) -> Rows:
    """A CSV file beside this script."""
    with (HERE / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def draw() -> None:
    """Bars of the ratios to onnxruntime."""
    from matplotlib.figure import Figure

    rows = read("inference.csv")
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.barh([f"{row['network']}: {row['way']}" for row in rows], [to_onnxruntime(rows, row) for row in rows])
    axes.axvline(1.0, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("processor seconds / those of onnxruntime")
    figure.savefig(HERE / "ratios.png", dpi=80, metadata={"Software": None})


if __name__ == "__main__":
    draw()
