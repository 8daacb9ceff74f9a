"""The progress bar of a training."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from restore.callbacks.contract import trained

SHOWN = {"train/loss": "loss", "samples_per_s": "samples/s"}  # log name -> label, shown next to the score


class ProgressBar(RichProgressBar):
    """Lightning's bar over the steps, with loss, latest score and samples per second in 80 columns.

    Args:
        refresh_rate: batches between updates of the bar.
    """

    def __init__(self, *, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate, theme=RichProgressBarTheme(metrics_format=".3g"))

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Use narrow columns; Lightning's would leave no room for the numbers."""
        bar = BarColumn(bar_width=6)
        return [TextColumn("{task.description}"), bar, MofNCompleteColumn(), TimeRemainingColumn(compact=True)]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The few values that fit."""
        every = super().get_metrics(trainer, pl_module)
        names = SHOWN | {trained(pl_module).monitor: trained(pl_module).monitor}
        return {short: every[name] for name, short in names.items() if name in every}

    def _get_train_description(self, current_epoch: int) -> str:
        return "training"  # the whole run is one epoch
