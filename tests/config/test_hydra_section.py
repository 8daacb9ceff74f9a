"""The ``hydra:`` section of a stranger's file of settings runs nothing."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from restore.config import hydra_section
from tests.conftest import TINY, Cli

RUN = {"_target_": "subprocess.getoutput", "cmd": "touch was_here"}
ATTACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "a callback": ("hydra.callbacks.x._target_", {"callbacks": {"x": RUN}}),
    "through a module of ours": (
        "hydra.callbacks.x._target_",
        {"callbacks": {"x": {**RUN, "_target_": "restore.runs.folder.subprocess.getoutput"}}},
    ),
    "an argument of an allowed callback": (
        "hydra.callbacks.points.x._target_",
        {"callbacks": {"points": {"x": RUN}}},
    ),
    "a launcher": ("hydra.launcher._target_", {"launcher": {"_target_": RUN["_target_"]}}),
    "through a module of a launcher": (
        "hydra.sweeper._target_",
        {"sweeper": {"_target_": "hydra._internal.core_plugins.basic_sweeper.itertools.count"}},
    ),
    "a factory of a log's handler": (
        "hydra.job_logging.handlers.x.()",
        {"job_logging": {"handlers": {"x": {"()": "subprocess.getoutput", "cmd": "touch was_here"}}}},
    ),
    "a class of a log's formatter": (
        "hydra.hydra_logging.formatters.x.class",
        {"hydra_logging": {"formatters": {"x": {"class": "subprocess.Popen", "format": "touch was_here"}}}},
    ),
    "an object of any module": (
        "hydra.job_logging.handlers.console.stream",
        {"job_logging": {"handlers": {"console": {"stream": "ext://antigravity"}}}},
    ),
    "a log that is a shell's start file": (
        "hydra.job_logging.handlers.file.filename",
        {"job_logging": {"handlers": {"file": {"filename": "${oc.env:HOME}/.bashrc"}}}},
    ),
    "the environment of git": (
        "hydra.job.env_set.GIT_CONFIG_COUNT",
        {
            "job": {
                "env_set": {
                    "GIT_CONFIG_COUNT": "1",
                    "GIT_CONFIG_KEY_0": "core.fsmonitor",
                    "GIT_CONFIG_VALUE_0": "touch was_here",
                }
            }
        },
    ),
}


def experiment(folder: Path, content: dict[str, Any], *, group: str = "experiment", package: str = "_global_") -> None:
    file = folder / "conf" / group / "evil.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# @package {package}\n{yaml.safe_dump(content)}")


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("command", ["check", "fit"])
def test_an_experiments_section_of_hydra_runs_nothing(cli: Cli, tmp_path: Path, command: str, attack: str) -> None:
    key, section = ATTACKS[attack]
    experiment(tmp_path, {"hydra": section})
    outcome = cli(command, f"--config-dir={tmp_path / 'conf'}", *TINY, "experiment=evil")
    assert outcome.status == 1
    assert key in " ".join(outcome.err.split())
    assert not list(tmp_path.rglob("was_here"))


@pytest.mark.parametrize("words", [("--multirun", "seed=1,2"), ("--cfg", "job"), ("--help",)])
def test_nor_in_a_sweep_or_where_settings_are_shown(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    experiment(tmp_path, {"hydra": {"mode": "MULTIRUN", "callbacks": {"x": RUN}}})
    outcome = cli("fit", f"--config-dir={tmp_path / 'conf'}", *words, "experiment=evil")
    assert outcome.status == 1, outcome.out
    assert not list(tmp_path.rglob("was_here"))


def test_nor_another_group_that_is_put_there(cli: Cli, tmp_path: Path) -> None:
    experiment(tmp_path, RUN, group="callbacks", package="hydra.callbacks.x")
    outcome = cli("fit", f"--config-dir={tmp_path / 'conf'}", "callbacks=evil")
    assert outcome.status == 1
    assert "hydra.callbacks.x._target_" in " ".join(outcome.err.split())


def test_nor_a_point_of_a_sweep(cli: Cli, tmp_path: Path) -> None:
    experiment(tmp_path, {"hydra": {"job": {"env_set": {"PATH": "."}}}})
    outcome = cli("fit", "--multirun", f"--config-dir={tmp_path / 'conf'}", *TINY, "experiment=evil,zero_shot")
    assert outcome.status != 0
    assert "hydra.job.env_set.PATH" in " ".join(outcome.err.split())


def test_what_a_person_types_is_done(cli: Cli) -> None:
    outcome = cli("fit", "--cfg", "hydra", *TINY, "+hydra.job.env_set.OMP_NUM_THREADS=1")
    assert outcome.status == 0, outcome.err
    assert "OMP_NUM_THREADS" in outcome.out


def test_listed_targets_exist_where_installed() -> None:
    import importlib

    for target in [*hydra_section.TARGETS, *hydra_section.LOGGING]:
        module, _, name = target.rpartition(".")
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        assert isinstance(getattr(found, name, type), type), target
