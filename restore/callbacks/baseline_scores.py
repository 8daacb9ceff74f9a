"""Scores of the baseline on the images that a run is scored on, for the run's curves and report."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from restore.callbacks.contract import trained
from restore.distributed import collectives
from restore.io.files import write_text
from restore.io.tables import records_csv
from restore.metrics.protocols import protocol
from restore.ops.resize import enlarge
from restore.runs.results import KEYS


class BaselineScores(Callback):
    """Writes ``baseline.csv``: the scores of bicubic enlargement for each image, or of the input at scale 1.

    Each set is scored once per start of a run. Does nothing if the input is no estimate of the output.
    """

    def __init__(self) -> None:
        self._own: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score an image of a set that has no scores yet."""
        model = trained(pl_module)
        own, name = protocol(model.protocol), list(model.scores)[dataloader_idx]
        if own.baseline is None or any(row["benchmark"] == name for row in self._rows):
            return
        lq, gt, scale = batch["lq"][0].cpu(), batch["gt"][0].cpu(), model.scores[name].scale
        pred: Tensor = lq if model.scale == 1 else enlarge(lq, model.scale)
        row = {"baseline": own.baseline, "benchmark": name, "image": batch["name"][0], "protocol": model.protocol}
        self._own.append(row | {"scale": f"{model.scale:g}"} | own.score(pred, gt, scale=scale))

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the rows of all processes and write them."""
        found = [row for share in collectives.all_gather(self._own) for row in share]
        self._own = []
        if not found:
            return
        self._rows += sorted(found, key=lambda row: (row["benchmark"], row["image"]))
        if trainer.is_global_zero:
            columns = protocol(trained(pl_module).protocol).columns
            rows = [row | {column: f"{row[column]:.6f}" for column in columns} for row in self._rows]
            text = records_csv(rows, ["baseline", *KEYS, *columns])
            write_text(Path(trainer.default_root_dir) / "baseline.csv", text)

    on_test_end = on_validation_end
