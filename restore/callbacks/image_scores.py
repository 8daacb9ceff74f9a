"""The final test's score of every picture, not their mean alone: what a paired comparison of two runs needs."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from restore.callbacks.dashboards import show_table
from restore.io.files import write_text
from restore.runs.results import KEYS, per_image_csv


class ImageScores(Callback):
    """Writes ``results.csv``, in the format of ``restore evaluate``, and hands the table to the dashboards.

    With several processes each has scored its share; the rows are put together in the order of the sets.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, dict[str, Any]]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier test."""
        self._rows = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Process r of n has every n-th picture of a set, from number r."""
        name, score = list(pl_module.scores.items())[dataloader_idx]  # type: ignore[operator, union-attr]
        row = {"benchmark": name, "image": batch["name"][0], "scale": f"{pl_module.scale:g}"}
        row |= {"protocol": pl_module.protocol} | score.newest
        self._rows.append((dataloader_idx, batch_idx * trainer.world_size + trainer.global_rank, row))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect, write, show."""
        found = self._rows
        if trainer.world_size > 1:
            shares: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(shares, found)
            found = [each for share in shares for each in share]
        if not trainer.is_global_zero or not found:
            return
        rows = [row for _, _, row in sorted(found, key=lambda each: each[:2])]
        columns = [column for column in rows[0] if column not in KEYS]
        write_text(Path(trainer.default_root_dir) / "results.csv", per_image_csv(rows, columns))
        shown = [*KEYS, *columns]
        show_table(trainer.loggers, "results", shown, [[row[key] for key in shown] for row in rows])
