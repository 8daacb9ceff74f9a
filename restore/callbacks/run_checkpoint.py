"""Checkpoints from which a killed run can be resumed exactly."""

import logging
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from restore.callbacks.contract import trained
from restore.callbacks.non_finite import refuse_non_finite_weights
from restore.checkpoints.locate import BEST, LAST
from restore.distributed import collectives
from restore.distributed.signals import StopRequested
from restore.io.errors import SettingError

log = logging.getLogger(__name__)


class RunCheckpoint(Checkpoint):
    """Saves ``checkpoints/last.ckpt`` at regular steps, and ``checkpoints/best.ckpt`` by the monitored score.

    At a step with a validation, the checkpoint is written after it; otherwise the validation of a run killed between
    the two would be lost. Lightning runs its ``Checkpoint`` callbacks last, when the moving average is up to date.

    Args:
        every_steps: steps between saves of ``last.ckpt``; the last step is always saved.
        is_new_run: whether a resumed checkpoint belongs to another run, whose best score does not count.

    Raises:
        SettingError: ``every_steps`` is below 1.
    """

    def __init__(self, *, every_steps: int, is_new_run: bool) -> None:
        if every_steps < 1:
            raise SettingError("checkpoint.every_steps", every_steps, "at least 1 step")
        self.every_steps, self.is_new_run = every_steps, is_new_run
        self._saved = self._validated = 0
        self._is_stopping = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that all processes have found the same checkpoint in the run folder.

        Raises:
            ValueError: they have found different ones.
        """
        path = None if trainer.ckpt_path is None else Path(trainer.ckpt_path).name
        _refuse_different("resumes from", f"{path} to {stage}", trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Correct the state of Lightning's loops.

        The last batch of a finished run need not be the last one of a longer run that starts from its checkpoint.
        """
        loops = checkpoint["loops"]["fit_loop"]
        loops["epoch_loop.batch_progress"]["is_last_batch"] = False
        if checkpoint.get("validation_pending"):
            # tell Lightning that the run stopped at the first image of a validation, so that it begins with this
            # validation
            nothing = {"ready": 0, "completed": 0, "started": 0, "processed": 0}
            loops["epoch_loop.val_loop.batch_progress"] = {
                "total": nothing | {"ready": 1, "started": 1},
                "current": nothing,
                "is_last_batch": False,
            }

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Mark a checkpoint whose step still lacks its validation, because the run was stopped before it."""
        is_due = trainer.should_stop or self._validates_next(trainer)
        if self._is_stopping and is_due and self._validated < trainer.global_step:
            checkpoint["validation_pending"] = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the best score if it belongs to another run, or if ``best.ckpt`` is missing.

        Raises:
            ValueError: the processes have read different checkpoints.
        """
        _refuse_different("is at step", trainer.global_step, trainer)
        if self.is_new_run or not collectives.broadcast((self._folder(trainer) / BEST).exists(), 0):
            trained(pl_module).best = trained(pl_module).worst

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, unless a validation follows; request a validation after the last step."""
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True
        if trainer.should_stop:
            return  # Lightning then validates even if the interval does not divide max_steps
        if self._due(trainer) and not self._validates_next(trainer):
            self._save_last(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after a validation, and save the best weights."""
        if trainer.sanity_checking or not trainer.fit_loop.epoch_loop.batch_progress.current.ready:
            return
        self._validated = trainer.global_step
        if trained(pl_module).is_best:
            self._save(trainer, BEST)
        # VALIDATING: a validation that was missing when the run resumed, and is run alone
        is_last = trainer.should_stop or trainer.state.fn == TrainerFn.VALIDATING
        if self._due(trainer) or is_last:
            self._save_last(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save when the run was asked to stop; the network already holds its raw weights again, not the average."""
        if not isinstance(exception, StopRequested) or not exception.is_common:  # stopped within a step
            return
        if trainer.state.fn == TrainerFn.FITTING and trainer.global_step > self._saved:
            self._is_stopping = True
            self._save_last(trainer)
        log.info("step %d of %d is saved", trainer.global_step, trainer.max_steps)

    def _due(self, trainer: Trainer) -> bool:
        # between accumulated batches of a step, a checkpoint would lose the gradients so far
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        finished = batches % trainer.accumulate_grad_batches == 0
        return finished and trainer.global_step % self.every_steps == 0 and trainer.global_step > self._saved

    def _validates_next(self, trainer: Trainer) -> bool:
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return batches % int(trainer.val_check_batch or 1) == 0

    def _save_last(self, trainer: Trainer) -> None:
        self._saved = trainer.global_step
        self._save(trainer, LAST)

    def _save(self, trainer: Trainer, name: str) -> None:
        refuse_non_finite_weights(trainer)
        trainer.save_checkpoint(self._folder(trainer) / name)

    def _folder(self, trainer: Trainer) -> Path:
        return Path(trainer.default_root_dir) / "checkpoints"


def _refuse_different(what: str, own: Any, trainer: Trainer) -> None:
    found = collectives.all_gather(own)
    other = next((rank for rank, value in enumerate(found) if value != found[0]), None)
    if other is not None:
        raise ValueError(
            f"run_id: process 0 {what} {found[0]}, process {other} {what} {found[other]}; {trainer.default_root_dir} "
            "must be the same folder for all processes, and a slow file system may need a minute: start the same "
            "command again"
        )
