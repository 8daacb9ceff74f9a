"""Checkpoints a killed run can be resumed from exactly."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from restore.callbacks.non_finite import refuse_non_finite_weights


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name in the same folder and then moves it.

    Lightning's own writer puts a temporary file elsewhere and copies it; a full disk then destroys the file before.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Serialise first, so that what cannot be serialised touches no file."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.tmp")
        try:
            with open(temporary, "wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"{target} could not be written ({reason}); what was there before is untouched") from error
        finally:
            temporary.unlink(missing_ok=True)


class RunCheckpoint(Checkpoint):
    """Keeps ``checkpoints/last.ckpt`` every so many steps and ``checkpoints/best.ckpt`` by the monitored score.

    At a step with a validation the save waits for it, or the validation of a run killed between the two would be
    lost. Lightning runs callbacks of this class last, when the moving average is up to date.

    Args:
        every_steps: between two saves of ``last.ckpt``; the last step is always saved.
        is_new_run: a new run that starts from another run's checkpoint has no best of its own yet.
    """

    def __init__(self, *, every_steps: int, is_new_run: bool) -> None:
        if every_steps < 1:
            raise ValueError(f"checkpoint.every_steps is {every_steps}, expected at least 1 step")
        self.every_steps, self.is_new_run = every_steps, is_new_run
        self._saved = 0

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """A longer run from a finished one's checkpoint: what was the last batch there is not the last here."""
        checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"] = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget another run's best."""
        if self.is_new_run:
            pl_module.best = pl_module.worst

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, unless a validation follows; ask for one behind the last step."""
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True
        if trainer.should_stop:
            return  # Lightning then validates even if the interval does not divide max_steps
        if self._due(trainer) and not self._validates_next(trainer):
            self._save_last(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what waited, and the best."""
        if trainer.sanity_checking or not trainer.fit_loop.epoch_loop.batch_progress.current.ready:
            return
        if pl_module.is_best:
            self._save(trainer, "best.ckpt")
        if self._due(trainer) or trainer.should_stop:
            self._save_last(trainer)

    def _due(self, trainer: Trainer) -> bool:
        # inside a step, between two accumulated batches, a checkpoint would lose the gradients so far
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        finished = batches % trainer.accumulate_grad_batches == 0
        return finished and trainer.global_step % self.every_steps == 0 and trainer.global_step > self._saved

    def _validates_next(self, trainer: Trainer) -> bool:
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return batches % int(trainer.val_check_batch or 1) == 0

    def _save_last(self, trainer: Trainer) -> None:
        self._saved = trainer.global_step
        self._save(trainer, "last.ckpt")

    def _save(self, trainer: Trainer, name: str) -> None:
        refuse_non_finite_weights(trainer)
        trainer.save_checkpoint(self._folder(trainer) / name)

    def _folder(self, trainer: Trainer) -> Path:
        return Path(trainer.default_root_dir) / "checkpoints"
