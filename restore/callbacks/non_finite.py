"""Stops a run whose loss is no longer a number, and keeps what is needed to find out why."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from restore.distributed import collectives


class NonFiniteLoss(FloatingPointError):
    """The loss became infinite or not a number."""


def refuse_non_finite_weights(trainer: Trainer) -> None:
    """Keep broken weights out of a checkpoint: a finite loss says nothing about the update that followed it.

    Raises:
        NonFiniteLoss: a weight is infinite or not a number.
    """
    norms = torch._foreach_norm([p.detach() for p in trainer.lightning_module.parameters()])
    if not torch.stack([norm.float() for norm in norms]).isfinite().all():
        raise NonFiniteLoss(
            f"the weights are not finite after step {trainer.global_step}, so no checkpoint was written; lower "
            "model.lr or set trainer.gradient_clip_val, then start again from the last checkpoint with resume=<ckpt>"
        )


class StopOnNonFinite(Callback):
    """Raises at the first step whose loss is not finite, with the batch saved as ``non_finite.pt`` for replay.

    On a CPU every step is looked at. On a GPU a look makes the host wait, so the flags stay on the device and are
    read every ``every_steps`` steps; a batch older than the newest is known by its number and file names, and since
    a sample is a function of (seed, number) it can be made again.

    Args:
        every_steps: between two looks on a GPU; those at which a checkpoint is written, so that the loss's names come
            before the refusal to write broken weights.
    """

    def __init__(self, *, every_steps: int) -> None:
        self.every_steps = every_steps
        self._pending: list[tuple[int, Tensor, list[str]]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: dict[str, Any], batch_idx: int
    ) -> None:
        """Note the loss, and look when it is time."""
        loss: Tensor = outputs["loss"].detach()
        self._pending.append((batch_idx, loss.isfinite(), list(batch["name"])))
        if loss.device.type == "cpu" or trainer.global_step % self.every_steps == 0:
            self._look(trainer, batch)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A checkpoint follows a validation, so look first."""
        if self._pending:
            self._look(trainer, None)

    def _look(self, trainer: Trainer, batch: dict[str, Any] | None) -> None:
        finite = torch.stack([flag for _, flag, _ in self._pending])
        pending, self._pending = self._pending, []
        # the least number of a process whose loss is broken; all must know, or the others would wait for it for ever
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
            f"the loss is not finite at step {number // trainer.accumulate_grad_batches + 1}, on the pictures "
            f"{', '.join(names)}; the batch is kept in {target}. Lower model.lr or set trainer.gradient_clip_val, "
            "then start again from the last checkpoint with resume=<ckpt>"
        )
