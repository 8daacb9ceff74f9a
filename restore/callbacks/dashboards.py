"""Logs more than numbers to a dashboard: configuration, images, tables, checkpoints.

Weights & Biases and TensorBoard are only accessed through Lightning's logger objects; other loggers are ignored here.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

from restore.callbacks.logger_requirements import CLOUD
from restore.checkpoints.locate import BEST, LAST
from restore.io.files import read_mapping
from restore.io.tables import Table, markdown


class Dashboard(Callback):
    """Logs the resolved configuration and the state of the code, and finally the checkpoints.

    Args:
        artifacts: whether to upload ``best.ckpt`` and ``last.ckpt`` as Weights & Biases artifacts.
    """

    def __init__(self, *, artifacts: bool) -> None:
        self.artifacts = artifacts
        self._is_logged = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log the run folder's description, once; a run killed after its last step starts with its test."""
        if self._is_logged or not trainer.is_global_zero:
            return
        self._is_logged = True
        folder = Path(trainer.default_root_dir)
        start = dict(read_mapping(folder / "environment.json", ("starts",))["starts"][-1])
        facts = read_mapping(folder / "config.yaml") | {"git": start.pop("git"), "environment": start}
        for logger in trainer.loggers:
            logger.log_hyperparams(facts)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Upload the final checkpoints."""
        if not self.artifacts or not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir) / "checkpoints"
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                for file in (folder / BEST, folder / LAST):
                    logger.experiment.log_artifact(str(file), name=f"{file.stem}-{logger.version}", type="model")


def connect(loggers: Sequence[Logger]) -> None:
    """Start the Weights & Biases run, waiting up to ``settings.init_timeout`` seconds for the server.

    Raises:
        ConnectionError: the run could not be started.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            with _OneSentence():
                _ = logger.experiment


class _OneSentence:
    """Turns an error of wandb into a ConnectionError; known by its class name, as only the logger imports wandb."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Convert the error; other errors pass through."""
        if kind is not None and kind.__module__.partition(".")[0] == "wandb":
            said = str(error).strip().splitlines() or [kind.__name__]
            raise ConnectionError(
                f"logger.wandb could not start its run ({said[0].rstrip('.')}), expected an answer from "
                f"{os.environ.get('WANDB_BASE_URL', CLOUD)}; check network and key, raise "
                "logger.wandb.settings.init_timeout, or set logger.wandb.offline=true and send the run later "
                "with `wandb sync`"
            ) from error


def show_image(loggers: Sequence[Logger], key: str, file: Path, pixels: Tensor, caption: str, step: int) -> None:
    """Log an image; the dashboards show the steps of one key with a slider.

    Args:
        pixels: uint8, (3, H, W), the content of ``file``.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key=key, images=[str(file)], step=step, caption=[caption])
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(key, pixels, step)


def show_table(loggers: Sequence[Logger], key: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Log a table."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_table(key=key, columns=columns, data=rows)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text(key, markdown(Table("", columns, [[str(cell) for cell in row] for row in rows])))
