"""The progress bar of a training."""

from lightning.pytorch.callbacks import RichProgressBar


class Progress(RichProgressBar):
    """Lightning's bar over the steps, with loss, newest score, samples per second and share of waiting.

    Args:
        refresh_rate: batches between two updates of the bar.
    """

    def __init__(self, *, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate)

    def _get_train_description(self, current_epoch: int) -> str:
        return "training"  # the whole run is one epoch
