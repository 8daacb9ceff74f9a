"""The scores of every image in the final test, needed for a paired comparison of two runs."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from restore.callbacks.contract import trained
from restore.callbacks.dashboards import show_table
from restore.distributed import collectives
from restore.io.files import write_text
from restore.runs.results import KEYS, per_image_csv


class ImageScores(Callback):
    """Writes ``results.csv`` in the format of ``restore evaluate``, and logs the table.

    Each process scores its share of the images; the gathered rows are sorted into the order of the sets.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, dict[str, Any]]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Discard the rows of an earlier test."""
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
        """Store the scores; process r of n has every n-th image of a set, starting with image r."""
        model = trained(pl_module)
        name, score = list(model.scores.items())[dataloader_idx]
        row = {"benchmark": name, "image": batch["name"][0], "scale": f"{model.scale:g}", "protocol": model.protocol}
        row |= score.newest
        self._rows.append((dataloader_idx, batch_idx * trainer.world_size + trainer.global_rank, row))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the rows of all processes, write them and log them."""
        found = [each for share in collectives.all_gather(self._rows) for each in share]
        if not trainer.is_global_zero or not found:
            return
        rows = [row for _, _, row in sorted(found, key=lambda each: each[:2])]
        columns = [column for column in rows[0] if column not in KEYS]
        write_text(Path(trainer.default_root_dir) / "results.csv", per_image_csv(rows, columns))
        shown = [*KEYS, *columns]
        show_table(trainer.loggers, "results", shown, [[row[key] for key in shown] for row in rows])
