"""What a training in stages leaves in its run folder: the plan, and a sheet of pictures for each stage."""

import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.markdown import Markdown
from torch import Tensor

from restore.image import writing
from restore.image.montage import draw_levels
from restore.image.picture import Picture
from restore.io.files import write_text

log = logging.getLogger(__name__)

PICTURES = 3
SIDE = 256  # px; of a larger picture the middle is shown


class StageReport(Callback):
    """Writes ``plan.md`` before the first step, and ``stages/stage_<k>_<name>.png`` at the end of each stage.

    A sheet shows the first pictures of the first validation set, one a row: input, outputs from low to high (grey where
    not trained yet), reference. Models without stages are left alone.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Everything is on its device, so a step can be measured."""
        plan: str | None = pl_module.plan()  # type: ignore[operator]
        if plan is not None and trainer.is_global_zero:  # all have measured a step, which they do together
            Console().print(Markdown(plan))
            write_text(Path(trainer.default_root_dir) / "plan.md", plan)
            log.info("the plan is kept as plan.md")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw, before the checkpoint of the same step, so that no kill loses a sheet."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches or trainer.global_rank:
            return
        name: str | None = pl_module.stage_ending_at(trainer.global_step)  # type: ignore[operator]
        if name is None:
            return
        rows = [self._row(pl_module, sample) for sample in _first_samples(trainer)]
        width = max(row.shape[2] for row in rows)
        rows = [torch.nn.functional.pad(row, (0, width - row.shape[2]), value=1.0) for row in rows]
        target = Path(trainer.default_root_dir) / "stages" / f"{name}.png"
        writing.write(target, Picture.of(torch.cat(rows, 1)))

    def _row(self, model: LightningModule, sample: dict[str, Any]) -> Tensor:
        with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
            lq = sample["lq"].to(model.device, model.weights_dtype)
            levels = model.level_outputs(lq)  # type: ignore[operator]
        cpu = [None if each is None else each[0].float().cpu() for each in levels]
        return draw_levels(sample["lq"][0], cpu, sample["gt"][0], max_side=SIDE)


def _first_samples(trainer: Trainer) -> list[dict[str, Any]]:
    loader = trainer.datamodule.val_dataloader()[0]  # type: ignore[attr-defined]
    return [sample for sample, _ in zip(loader, range(PICTURES), strict=False)]
