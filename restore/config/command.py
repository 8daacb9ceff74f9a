"""Turns a function of a configuration into a command: Hydra composes the configuration, errors become one sentence.

Does not import torch, so that ``--help`` and ``--cfg job`` answer at once.
"""

import errno
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from restore.config import command_line, config_files, hydra_section, resolvers, schemas
from restore.config.errors import USER_ERRORS, UserError, sentence
from restore.config.override_quoting import as_typed
from restore.config.system_errors import no_run_folder
from restore.distributed.signals import never_ignored
from restore.io.errors import SettingError
from restore.io.terminal import accept_any_text

# at import, because launchers that run a sweep's points in other processes import only this file
schemas.register()
resolvers.register()
config_files.register()
hydra_section.register()


def conf_dir() -> str:
    """Absolute path of the shipped configuration: beside the package in a checkout, inside it in a wheel.

    Raises:
        FileNotFoundError: the configuration is in neither folder.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "fit.yaml").is_file():
            return str(folder)
    raise FileNotFoundError(f"no conf folder in or beside {package}; reinstall the package")


def command(
    task: Callable[[Any], Any],
    config_name: str,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
    plain_word: str | None = None,
) -> Callable[[], None]:
    """Turn a function of a composed configuration into a command.

    Args:
        task: the function. config_name: name of its primary file.
        around: a context entered once around the whole command, including all points of a sweep.
        plain_word: the setting that takes a word without ``=`` on the command line as its value.

    A user's error becomes one sentence on stderr and exit status 1. ``HYDRA_FULL_ERROR=1`` also shows the traceback;
    a message that comes from a library is followed by a hint at it.
    """
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"

    def fail(error: BaseException, cfg: DictConfig | None = None) -> NoReturn:
        sys.stderr.write(f"{config_name}: {sentence(error, cfg)}\n{_hint(error)}")
        sys.exit(1)

    @functools.wraps(task)
    def job(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except (*USER_ERRORS, OmegaConfBaseException) as error:  # OmegaConf raises on access to a missing setting
            if full_error or HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            fail(error, cfg)  # here, because Hydra would print all overrides first
        except RuntimeError as error:
            if not isinstance(error.__context__, OSError) or error.__context__.errno != errno.ELOOP:
                raise
            fail(error.__context__, cfg)  # pathlib turned it into a RuntimeError

    def main() -> None:
        accept_any_text()
        # makes Hydra raise its exceptions instead of printing them
        with _changed_environment(HYDRA_FULL_ERROR="1"), never_ignored():
            try:
                given = sys.argv[1:] if plain_word is None else command_line.named(sys.argv[1:], plain_word)
                sys.argv[1:] = given = as_typed(given, schemas.SCHEMAS[config_name])
                if {"--help", "-h"} & set(given):
                    _help(config_name, given, plain_word)
                    return
                with around():
                    hydra.main(version_base="1.3", config_path=conf_dir(), config_name=config_name)(job)()
                sys.stdout.flush()  # now, because a broken pipe cannot be caught at exit
            except BrokenPipeError:  # the reader has closed the pipe, as `| head` does
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python reports it again at exit
            except (*USER_ERRORS, HydraException, OmegaConfBaseException) as error:
                if full_error:
                    raise
                fail(no_run_folder(error))
            except KeyboardInterrupt as interrupt:
                sys.stderr.write(f"{config_name}: interrupted. {interrupt}\n")
                sys.exit(130)

    return main


def _help(command: str, given: list[str], plain_word: str | None) -> None:
    from restore.config import help as help_

    own = command_line.value_of(given, "--config-dir", "-cd")
    if own is not None and not Path(own).is_dir():
        raise UserError(f"--config-dir: {own} is not a folder")
    folders = [Path(conf_dir()), *([Path(own).resolve()] if own is not None else [])]
    usage = f"restore {command} {f'[<{plain_word}>] ' if plain_word else ''}[key=value ...]"
    help_.show(command, usage, command_line.overrides(given), folders, schemas.comments(command))


def _hint(error: BaseException) -> str:
    """How to show the traceback, for a message that comes from a library."""
    raised = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)]
    is_ours = isinstance(error, UserError | SettingError | HydraException | OmegaConfBaseException)
    if is_ours or raised[-1].is_relative_to(Path(__file__).parent.parent):
        return ""
    return "(HYDRA_FULL_ERROR=1 shows where it happened)\n"


@contextmanager
def _changed_environment(**changes: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
