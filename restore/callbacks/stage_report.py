"""The plan of a coarse-to-fine training, and a sheet of images for each stage."""

import logging
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from rich.console import Console
from rich.markdown import Markdown
from torch import Tensor

from restore.callbacks.contract import CoarseToFine, palette, trained
from restore.image import writing
from restore.image.decoded_image import DecodedImage
from restore.image.montage import draw_levels
from restore.io.files import write_text

log = logging.getLogger(__name__)

IMAGES = 3
SIDE = 256  # pixels; larger images are cropped to their centre


class StageReport(Callback):
    """Writes ``plan.md`` before the first step, and ``stages/stage_<k>_<name>.png`` at the end of each stage.

    A sheet has one row for each of the first images of the first validation set: input, outputs from low to high
    resolution (grey if not trained yet), reference. Does nothing for models that are not trained from coarse to fine.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the plan; all tensors are on their device by now, so that steps can be timed."""
        if not isinstance(pl_module, CoarseToFine):
            return
        log.info("measuring a step of each stage, for the plan")
        plan = pl_module.plan()  # in all processes, because they time the steps together
        if trainer.is_global_zero:
            if sys.stdout.isatty():
                Console().print(Markdown(plan))
            else:
                sys.stdout.write(f"{plan}\n")  # not through rich, which would wrap its lines
            write_text(Path(trainer.default_root_dir) / "plan.md", plan)
            log.info("the plan is saved as plan.md")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw a sheet before the checkpoint of the same step, so that a kill cannot lose it."""
        if not isinstance(pl_module, CoarseToFine) or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        name = pl_module.stage_ending_at(trainer.global_step)
        if name is None or trainer.global_rank:
            return
        rows = [_row(pl_module, sample) for sample in _first_samples(trained(pl_module).datamodule)]
        width = max(row.shape[2] for row in rows)
        rows = [torch.nn.functional.pad(row, (0, width - row.shape[2]), value=1.0) for row in rows]
        target = Path(trainer.default_root_dir) / "stages" / f"{name}.png"
        writing.write(target, DecodedImage.of(torch.cat(rows, 1)))


def _row(pl_module: LightningModule, sample: dict[str, Any]) -> Tensor:
    assert isinstance(pl_module, CoarseToFine)
    with torch.no_grad(), torch.autocast(pl_module.device.type, enabled=False):
        levels = pl_module.level_outputs(sample["lq"].to(pl_module.device, trained(pl_module).weights_dtype))
    cpu = [None if each is None else each[0].float().cpu() for each in levels]
    return draw_levels(sample["lq"][0], cpu, sample["gt"][0], max_side=SIDE, palette=palette(pl_module))


def _first_samples(data: LightningDataModule) -> list[dict[str, Any]]:
    loader = data.val_dataloader()[0]
    return [sample for sample, _ in zip(loader, range(IMAGES), strict=False)]
