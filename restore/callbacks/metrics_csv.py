"""The run folder's ``metrics.csv``: one row per logged step, continued when a run resumes."""

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from restore.io import tables
from restore.io.files import write_text
from restore.runs import damage


class MetricsCSV(Logger):
    """Writes all logged values to ``<folder>/metrics.csv``; a new name adds a column.

    A resumed run first calls :meth:`begin_at`, which keeps the earlier rows; Lightning's CSVLogger would delete them.
    """

    def __init__(self, *, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._rows: list[dict[str, str]] = []
        self._columns: list[str] = []

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """Version of the logger; empty, because the folder identifies the run."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing, because the run folder holds the whole configuration."""

    def begin_at(self, step: int) -> None:
        """Keep the rows up to ``step``, where a resumed run begins; later steps are repeated."""
        kept, _ = damage.metrics(self.path)
        self._rows = [row for row in kept if int(row["step"]) <= step]

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Merge values into the row of a step."""
        number = step or 0
        row = {key: repr(float(value)) for key, value in metrics.items()}
        is_new = not self._rows or int(self._rows[-1]["step"]) != number
        if is_new:
            self._rows.append({"step": str(number)})
        self._rows[-1].update(row)
        # at once: a killed run must not lose rows of steps that it will not repeat
        if is_new and row.keys() <= set(self._columns):
            self._append()
        else:
            self._write()

    def _append(self) -> None:
        with open(self.path, "a", newline="") as file:
            csv.DictWriter(file, self._columns, lineterminator="\n").writerow(self._rows[-1])

    def _write(self) -> None:
        self._columns = ["step", *sorted({key for row in self._rows for key in row} - {"step"})]
        write_text(self.path, tables.records_csv(self._rows, self._columns))
