"""Stops a run whose loss is not finite, and saves the batch for debugging."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from restore.distributed import collectives


class NonFiniteLoss(FloatingPointError):
    """The loss is infinite or NaN."""


def refuse_non_finite_weights(trainer: Trainer) -> None:
    """Keep non-finite weights out of a checkpoint: a finite loss does not guarantee a finite update.

    Raises:
        NonFiniteLoss: a weight is infinite or NaN.
    """
    norms = torch._foreach_norm([p.detach() for p in trainer.lightning_module.parameters()])
    if not torch.stack([norm.float() for norm in norms]).isfinite().all():
        raise NonFiniteLoss(
            f"the weights are not finite after step {trainer.global_step}, so no checkpoint was written; lower "
            "model.lr or set trainer.gradient_clip_val, then start again from the last checkpoint with resume=<ckpt>"
        )


class StopOnNonFinite(Callback):
    """Raises at the first step with a non-finite loss, and saves the batch as ``non_finite.pt`` to repeat the step.

    On a CPU every step is checked. On a GPU a check makes the host wait, so the flags stay on the device and are read
    every ``every_steps`` steps; for a batch before the latest one, the batch number and the file names are saved
    instead of the images. Since a sample is a function of (seed, number), it can be made again.

    Args:
        every_steps: steps between checks on a GPU. If it equals the interval of the checkpoints, this error, which
            names the images, comes before the refusal to write the weights.
    """

    def __init__(self, *, every_steps: int) -> None:
        self.every_steps = every_steps
        self._pending: list[tuple[int, Tensor, list[str]]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: dict[str, Any], batch_idx: int
    ) -> None:
        """Store the flag of the loss, and check all flags when a check is due."""
        loss: Tensor = outputs["loss"].detach()
        self._pending.append((batch_idx, loss.isfinite(), list(batch["name"])))
        if loss.device.type == "cpu" or trainer.global_step % self.every_steps == 0:
            self._check(trainer, batch)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check before the checkpoint that follows the validation."""
        if self._pending:
            self._check(trainer, None)

    def _check(self, trainer: Trainer, batch: dict[str, Any] | None) -> None:
        finite = torch.stack([flag for _, flag, _ in self._pending])
        pending, self._pending = self._pending, []
        # the lowest rank with a non-finite loss; all processes must know it, or the others would wait for ever
        sources = collectives.all_reduce_min(torch.where(finite, trainer.world_size, trainer.global_rank)).tolist()
        first = next((k for k, source in enumerate(sources) if source < trainer.world_size), None)
        if first is None:
            return
        number, _, names = pending[first]
        target = Path(trainer.default_root_dir) / "non_finite.pt"
        if trainer.global_rank == sources[first]:
            torch.save({"batch_idx": number, "names": names, "newest_batch": batch}, target)
        names = collectives.broadcast(names, sources[first])
        raise NonFiniteLoss(
            f"the loss is not finite at step {number // trainer.accumulate_grad_batches + 1}, on the images "
            f"{', '.join(names)}; the batch is kept in {target}. Lower model.lr or set trainer.gradient_clip_val, "
            "then start again from the last checkpoint with resume=<ckpt>"
        )
