"""Draws how many training samples a second one process makes from each source.

python -m experiments.performance.drawing
"""

from pathlib import Path

from matplotlib.figure import Figure

from experiments.performance.tables import read

HERE = Path(__file__).parent


def main() -> None:
    """Write pack.png."""
    rows = read("pack_loaders.csv")[::-1]
    speeds = [float(row["samples_per_s"]) for row in rows]
    figure = Figure(figsize=(6, 1.8), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([row["source"] for row in rows], speeds, color="#3b6ea5")
    axes.bar_label(bars, [f"{speed:.0f}" for speed in speeds], padding=3)
    axes.set(xscale="log", xlabel="training samples a second, one process")
    axes.set_xlim(right=4 * max(speeds))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "pack.png", dpi=100)


if __name__ == "__main__":
    main()
