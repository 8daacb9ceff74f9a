"""What a dashboard is told beside numbers: configuration, pictures, tables, checkpoints.

Weights & Biases and TensorBoard are reached through Lightning's logger objects alone; any other logger is told nothing.
"""

import importlib
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

from restore.checkpoints.file_names import BEST, LAST
from restore.io.files import read_mapping

CLOUD = "https://api.wandb.ai"
# what a logger imports when it is first written to, and where it comes from
PACKAGES = {
    "WandbLogger": {"wandb": "install it again: pip install wandb"},
    "TensorBoardLogger": {"torch.utils.tensorboard": "in a checkout: pip install '.[tensorboard]'"},
}


class Dashboard(Callback):
    """Hands the loggers the resolved configuration and the state of the code, and at the end the checkpoints.

    Args:
        artifacts: whether ``best.ckpt`` and ``last.ckpt`` become artifacts of Weights & Biases.
    """

    def __init__(self, *, artifacts: bool) -> None:
        self.artifacts = artifacts
        self._told = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """The run folder is described by now. A run killed behind its last step has a test alone."""
        if self._told or not trainer.is_global_zero:
            return
        self._told = True
        folder = Path(trainer.default_root_dir)
        start = dict(read_mapping(folder / "environment.json", ("starts",))["starts"][-1])
        facts = read_mapping(folder / "config.yaml") | {"git": start.pop("git"), "environment": start}
        for logger in trainer.loggers:
            logger.log_hyperparams(facts)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Both checkpoints are final."""
        if not self.artifacts or not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir) / "checkpoints"
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                for file in (folder / BEST, folder / LAST):
                    logger.experiment.log_artifact(str(file), name=f"{file.stem}-{logger.version}", type="model")


def refuse_unusable(loggers: Mapping[str, Any], *, artifacts: bool) -> None:
    """Ask before any work what a logger would say in the middle of it, in a prompt of its own or in a traceback.

    Args:
        loggers: the configuration of each, by its key.
        artifacts: whether checkpoints are to become artifacts.

    Raises:
        ValueError: a package is missing, there is no key, or nothing takes artifacts.
    """
    kinds = {key: str(node.get("_target_", "")).rpartition(".")[2] for key, node in loggers.items()}
    for key, kind in kinds.items():
        for package, remedy in PACKAGES.get(kind, {}).items():
            _refuse_missing(f"logger.{key}", package, remedy)
    own = [loggers[key] for key, kind in kinds.items() if kind == "WandbLogger"]
    if artifacts and not own:
        raise ValueError("checkpoint.artifacts is true, but no logger takes checkpoints; set logger=wandb, or false")
    is_offline = os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled")
    if not is_offline and not all(node.get("offline") for node in own) and not _has_key():
        raise ValueError(
            "logger.wandb sends its data online, and there is no key for it; run `wandb login`, export WANDB_API_KEY, "
            "or set logger.wandb.offline=true, which needs none"
        )


def _refuse_missing(setting: str, package: str, remedy: str) -> None:
    """By importing it: one that is half installed is found by the package manager, but not by Python."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ValueError(
            f"{setting} needs the package {package.split('.')[-1]}, and it cannot be imported ({error}); {remedy}, or "
            "set logger=csv"
        ) from error


def connect(loggers: Sequence[Logger]) -> None:
    """Begin the run at Weights & Biases, which waits for its server so long as ``settings.init_timeout`` says.

    Raises:
        ConnectionError: it could not be begun.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            with _InOurWords():
                _ = logger.experiment


class _InOurWords:
    """Turns an error of wandb's classes, which only its logger imports, into a sentence."""

    def __enter__(self) -> None:
        """Nothing: only the end counts."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Leave all other errors as they are."""
        if kind is not None and kind.__module__.partition(".")[0] == "wandb":
            said = str(error).strip().splitlines() or [kind.__name__]
            raise ConnectionError(
                f"logger.wandb could not begin its run ({said[0].rstrip('.')}), expected an answer from "
                f"{os.environ.get('WANDB_BASE_URL', CLOUD)}; look at network and key, raise "
                "logger.wandb.settings.init_timeout, or set logger.wandb.offline=true and send the run later with "
                "`wandb sync`"
            ) from error


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", CLOUD)).hostname or ""
    given = os.environ.get("NETRC")
    for file in [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if netrc.netrc(str(file)).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):  # not there, or not readable: Weights & Biases finds no key either
            continue
    return False


def show_picture(loggers: Sequence[Logger], key: str, file: Path, pixels: Tensor, caption: str, step: int) -> None:
    """Hand over a picture; one key at many steps becomes a slider.

    Args:
        pixels: uint8, (3, H, W), the content of ``file``.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key=key, images=[str(file)], step=step, caption=[caption])
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(key, pixels, step)


def show_table(loggers: Sequence[Logger], key: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Hand over a table."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_table(key=key, columns=columns, data=rows)
        elif isinstance(logger, TensorBoardLogger):
            lines = [columns, ["---"] * len(columns), *rows]
            logger.experiment.add_text(key, "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines))
