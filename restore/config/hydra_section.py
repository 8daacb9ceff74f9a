"""Refuses settings of Hydra itself through which a configuration file could run code.

An experiment's file may come from anywhere, and its ``hydra:`` section takes effect before any command begins: Hydra
builds whatever callbacks, launchers, sweepers and loggers it names. So only the classes listed here are built, and
settings that are commands are accepted only on the command line.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import hydra._internal.hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf

from restore.io.errors import SettingError

TARGETS = frozenset(
    (
        "restore.training.sweep.Points",
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
        "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper",
        *(f"hydra_plugins.hydra_submitit_launcher.submitit_launcher.{each}Launcher" for each in ("Local", "Slurm")),
        *(
            f"optuna.samplers.{each}Sampler"
            for each in ("BruteForce", "CmaEs", "Grid", "MOTPE", "NSGAII", "QMC", "Random", "TPE")
        ),
    )
)
LOGGING = frozenset(  # classes and factories
    (
        "restore.io.console_log.ConsoleHandler",
        "colorlog.ColoredFormatter",
        *(f"logging.{each}" for each in ("FileHandler", "Formatter", "NullHandler", "StreamHandler")),
    )
)
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
# values that are commands, or that set the environment of all later commands
TYPED_ALONE = ("hydra.job.env_set", "hydra.launcher.setup", "hydra.launcher.additional_parameters")
BY_NAME = "hydra.sweeper.custom_search_space"  # names a function that Hydra calls
_LOG_FILE = re.compile(r"\$\{hydra\.runtime\.output_dir\}/(?:[\w-]+|\$\{hydra\.job\.name\})\.log")


def refuse(cfg: DictConfig) -> None:
    """Refuse a composed configuration whose ``hydra:`` section would run code named in a file.

    Raises:
        SettingError
    """
    # only this section, unresolved, because its interpolations are Hydra's own
    section: Any = OmegaConf.to_container(cfg.hydra, resolve=False)
    typed = [each.lstrip("+~").partition("=")[0].replace("@", ".") for each in section["overrides"]["hydra"]]
    for path, value in _leaves(section, "hydra"):
        key = path[-1]
        dotted = ".".join(path)
        if key == "_target_" and value not in TARGETS:
            raise SettingError(dotted, value, "a launcher, sweeper or callback that restore knows")
        if key == "_args_":
            raise SettingError(dotted, value, "nothing, because arguments are given by name", "leave it out")
        if path[1] in ("job_logging", "hydra_logging"):
            _refuse_logging(dotted, path, value)
        alone = next((each for each in (*TYPED_ALONE, BY_NAME) if f"{dotted}.".startswith(f"{each}.")), None)
        if alone is not None and value not in (None, {}, []) and not any(each.startswith(alone) for each in typed):
            raise SettingError(
                dotted, value, "nothing in a file, because it would be executed", "give it on the command line"
            )


def _refuse_logging(dotted: str, path: Sequence[str], value: Any) -> None:
    key = path[-1]
    if key == "." or (key in ("()", "class") and value not in LOGGING):
        raise SettingError(dotted, value, f"one of {', '.join(sorted(LOGGING))}")
    if isinstance(value, str) and value.startswith(("ext://", "cfg://")) and value not in STREAMS:
        raise SettingError(dotted, value, f"one of {', '.join(STREAMS)}")
    if key == "filename" and not _LOG_FILE.fullmatch(str(value)):
        raise SettingError(dotted, value, "a file in the run's folder, as ${hydra.runtime.output_dir}/train.log")


def _leaves(node: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Path and value of every leaf."""
    if isinstance(node, dict | list) and node:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(value, *path, str(key))
    else:
        yield path, node


class CheckedLoader(ConfigLoaderImpl):
    """Hydra's configuration loader, which also loads each point of a sweep, with the check."""

    def load_configuration(self, *args: Any, **kwargs: Any) -> DictConfig:
        """Compose the configuration, then refuse it if it would run code."""
        cfg = super().load_configuration(*args, **kwargs)
        refuse(cfg)
        return cfg


def register() -> None:
    """Make Hydra use this loader in this process; calling it again has no effect."""
    # Hydra has no other hook before it builds the classes that the section names
    setattr(hydra._internal.hydra, "ConfigLoaderImpl", CheckedLoader)  # noqa: B010
