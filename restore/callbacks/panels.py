"""Panels of validation images: lq enlarged, pred, gt, error; or lq, the outputs of all levels, gt."""

import math
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from restore.callbacks.contract import CoarseToFine, palette
from restore.callbacks.dashboards import show_image
from restore.image import writing
from restore.image.decoded_image import DecodedImage
from restore.image.montage import draw_levels, draw_panel
from restore.io.errors import SettingError


class Panels(Callback):
    """Writes ``panels/<image>_<step>.png`` at each validation, and logs them.

    Args:
        images: number of images, from the first validation set.
        max_side: maximum side in gt pixels; larger images are cropped to their centre.
        error_gain: factor that makes the absolute error visible.
        zoom: enlargement of the region with the largest error in a second row; 1 for no second row.

    Raises:
        SettingError: fewer than one image or pixel, ``error_gain`` not finite and positive, or ``zoom`` below 1 or
            above ``max_side``.
    """

    def __init__(self, *, images: int = 2, max_side: int = 256, error_gain: float = 4.0, zoom: int = 1) -> None:
        if images < 1:
            raise SettingError("callbacks.panels.images", images, "at least 1", "for none set callbacks.panels=null")
        if max_side < 1:
            raise SettingError("callbacks.panels.max_side", max_side, "at least 1 px")
        if not 0 < error_gain < math.inf:
            raise SettingError("callbacks.panels.error_gain", error_gain, "a finite number above 0")
        if zoom < 1:
            raise SettingError("callbacks.panels.zoom", zoom, "at least 1, which is none")
        if zoom > max_side:
            expected = f"at most {max_side}, which is max_side and shows one pixel"
            raise SettingError("callbacks.panels.zoom", zoom, expected)
        self.images, self.max_side, self.error_gain, self.zoom = images, max_side, error_gain, zoom

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw; ``outputs`` is the restored image, (1, 3, H, W)."""
        if trainer.sanity_checking or dataloader_idx or batch_idx >= self.images or trainer.global_rank:
            return
        lq, pred, gt = batch["lq"][0].cpu(), outputs[0].cpu(), batch["gt"][0].cpu()
        if isinstance(pl_module, CoarseToFine):
            levels = [None if each is None else each[0].float().cpu() for each in pl_module.level_outputs(batch["lq"])]
            panel = draw_levels(lq, levels, gt, max_side=self.max_side, palette=palette(pl_module))
            shown = "lq, outputs from low to high, reference"
        else:
            panel = draw_panel(lq, pred, gt, max_side=self.max_side, error_gain=self.error_gain, zoom=self.zoom)
            shown = f"lq, restored, reference, error x{self.error_gain:g}"
        name, step = batch["name"][0], trainer.global_step
        target = Path(trainer.default_root_dir) / "panels" / f"{name}_{step:07d}.png"
        image = DecodedImage.of(panel)
        writing.write(target, image)
        show_image(trainer.loggers, f"panels/{name}", target, image.pixels, f"step {step}: {shown}", step)
