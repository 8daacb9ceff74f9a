"""Keeps the run folder's ``report.html`` up to date."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from restore.distributed.signals import StopRequested
from restore.runs.report import write_report


class RunReport(Callback):
    """Writes the report after every validation and when a run is asked to stop; ``fit`` writes the final one."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write; the scores, curves and panels of this validation exist by now."""
        self._write(trainer, "training")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Note in the report at which step the run stopped."""
        if isinstance(exception, StopRequested) and exception.is_common:
            self._write(trainer, f"ended by {exception}")

    def _write(self, trainer: Trainer, state: str) -> None:
        if trainer.is_global_zero:
            write_report(Path(trainer.default_root_dir), f"{state}, step {trainer.global_step} of {trainer.max_steps}")
