"""What a logger needs on this machine: its package and its key. Imports neither torch nor Lightning."""

import importlib
import netrc
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from restore.io.errors import SettingError

CLOUD = "https://api.wandb.ai"
# by logger: the package that it imports at its first write, and the remedy if that fails
PACKAGES = {
    "WandbLogger": {"wandb": "install it again: pip install wandb"},
    "TensorBoardLogger": {"torch.utils.tensorboard": "in a checkout: pip install -c constraints.txt '.[tensorboard]'"},
}


def refuse_not_installed(loggers: Mapping[str, Any]) -> None:
    """Refuse a logger whose package is not installed, without importing the package.

    Args:
        loggers: the configuration of each logger, by key.

    Raises:
        SettingError: a package is missing.
    """
    for key, node in loggers.items():
        for package, remedy in PACKAGES.get(_kind(node), {}).items():
            if find_spec(package.rpartition(".")[2]) is None:
                raise _missing(f"logger.{key}", package, "not found", remedy)


def _kind(node: Any) -> str:
    """Class name of the logger."""
    return str(node.get("_target_", "")).rpartition(".")[2]


_NOT_IN_PROJECTS, _LONGEST_PROJECT = "/\\#?%:", 128  # rules of the server for a project's name


def refuse_unusable(loggers: Mapping[str, Any], *, artifacts: bool) -> None:
    """Refuse loggers that would fail later with a prompt or a traceback, before any work.

    Args:
        loggers: the configuration of each logger, by key.
        artifacts: whether checkpoints will be uploaded as artifacts.

    Raises:
        SettingError: a package or the key is missing, or no logger accepts artifacts.
    """
    kinds = {key: _kind(node) for key, node in loggers.items()}
    for key, kind in kinds.items():
        for package, remedy in PACKAGES.get(kind, {}).items():
            _refuse_missing(f"logger.{key}", package, remedy)
    own = [loggers[key] for key, kind in kinds.items() if kind == "WandbLogger"]
    if artifacts and not own:
        reason = "false, because no logger stores checkpoints"
        raise SettingError("checkpoint.artifacts", "true", reason, "set logger=wandb, or checkpoint.artifacts=false")
    for node in own:
        project = str(node.get("project") or "")
        if set(project) & set(_NOT_IN_PROJECTS) or len(project) > _LONGEST_PROJECT:
            expected = f"at most {_LONGEST_PROJECT} characters, none of them {' '.join(_NOT_IN_PROJECTS)}"
            raise SettingError("logger.wandb.project", project, expected, "choose another name")
    is_offline = os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled")
    if not is_offline and not all(node.get("offline") for node in own) and not _has_key():
        raise SettingError(
            "logger.wandb",
            "online",
            "a key for its server",
            "run `wandb login`, export WANDB_API_KEY, or set logger.wandb.offline=true, which needs none",
        )


def _refuse_missing(setting: str, package: str, remedy: str) -> None:
    """Import the package, because an incomplete installation can be found but not imported."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise _missing(setting, package, str(error), remedy) from error


def _missing(setting: str, package: str, reason: str, remedy: str) -> SettingError:
    expected = f"the package {package.rpartition('.')[2]} to be installed ({reason})"
    return SettingError(setting, "set", expected, f"{remedy}, or set logger=csv")


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", CLOUD)).hostname or ""
    given = os.environ.get("NETRC")
    for file in [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if netrc.netrc(str(file)).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):  # missing or unreadable: Weights & Biases will not find a key either
            continue
    return False
