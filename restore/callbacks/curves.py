"""Draws ``curves.png`` in the run folder."""

import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from restore.io.files import write_bytes
from restore.runs import damage, results


class Curves(Callback):
    """Redraws the training loss and all validation scores from ``metrics.csv`` after each validation."""

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw; ``metrics.csv`` already has the rows of this validation."""
        folder = Path(trainer.default_root_dir)
        if (folder / "metrics.csv").exists():
            draw_curves(
                damage.metrics(folder / "metrics.csv")[0],
                folder / "curves.png",
                results.baseline(folder)[0],
                results.baseline_means(folder),
            )


def draw_curves(
    rows: list[dict[str, str]], target: Path, baseline: str = "", means: Mapping[str, float] = MappingProxyType({})
) -> None:
    """Draw one panel per quantity: the training loss, then the validation scores, with the baseline's as a line.

    Args:
        rows: rows of ``metrics.csv``.
        target: path of the PNG file.
        baseline: name of the baseline. means: its scores, by ``<set>/<column>``.
    """
    from matplotlib.figure import Figure

    columns = {key for row in rows for key in row}
    shown = [c for c in ["train/loss", *sorted(c for c in columns if c.startswith("val/"))] if c in columns]
    if not shown:
        return
    figure = Figure(figsize=(4.5 * len(shown), 3.2), layout="constrained")
    for axes, column in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        points = [(int(row["step"]), float(row[column])) for row in rows if row.get(column)]
        axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "")
        level = means.get(column.removeprefix("val/"))
        if level is not None:
            axes.axhline(level, linestyle="--", color="gray", label=baseline)
            axes.legend()
        axes.set(title=column, xlabel="step")
        axes.grid(alpha=0.3)
    png = io.BytesIO()
    figure.savefig(png, dpi=100)
    write_bytes(target, png.getvalue())
