"""Text stays what was typed, in each command and in what groups build."""

import importlib
import inspect
import shutil
import typing
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from restore.config.command import conf_dir
from restore.config.override_quoting import TEXT, TEXT_OR_NUMBER, as_typed, text_fields
from restore.config.schemas import SCHEMAS
from restore.io.errors import SettingError
from tests.conftest import TINY, Cli, photo

# each is a number, infinite, or a boolean to Hydra's grammar, and the name of a folder or a commit to a person
NAMES = ["2024_06_01", "3e563", "9e999", "1_000", "1e3", ".5", "+5", "-0", "1.", "true", "FALSE", "NaN", "1.50"]


@pytest.mark.parametrize("command", SCHEMAS)
def test_every_text_setting_of_every_command_stays_as_typed(command: str) -> None:
    keys = list(text_fields(SCHEMAS[command]))
    typed = {key: NAMES[k % len(NAMES)] for k, key in enumerate(keys)}
    words = as_typed([f"{key}={name}" for key, name in typed.items()], SCHEMAS[command])
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose(command, overrides=words)
    assert {key: OmegaConf.select(cfg, key) for key in keys} == typed


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *((f"run_id={name}", name) for name in NAMES),
        ("data.root=2024", "2024"),
        ("data.root=[2024_06_01,b,'1e3']", ["2024_06_01", "b", "1e3"]),
        ("+data.benchmarks=[3e5, 2024/06]", ["3e5", "2024/06"]),
        ("data.validation=2024_06_01", "2024_06_01"),
        ("data.validation=3", 3),
        ("model.kernel=[[.5,1e-1],[0,0.4]]", [[0.5, 0.1], [0, 0.4]]),
        ("model.lr=1e-4", 1e-4),
        ("seed=1_000", 1000),
        ("run_id=null", None),
        ("hydra.run.dir=2024_06_01", "2024_06_01"),
        ("logger.wandb.project=1e3", "1e3"),
        ('name="1e3"', "1e3"),
        ("name=run 1e3", "run 1e3"),
        ("name=12", 12),  # which becomes the text 12, and the name of a sweep's point stays what it was
        ("name=${run_id}", "${run_id}"),
    ],
)
def test_only_text_is_quoted(word: str, value: object) -> None:
    (found,) = OverridesParser.create().parse_overrides(as_typed([word], SCHEMAS["fit"]))
    assert found.value() == value


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/o'me")
    words = as_typed(["data.root=[~/a,'~/my b',c]", "init_from=~/x.ckpt", "~logger", "name=a"], SCHEMAS["fit"])
    assert words[2:] == ["~logger", "name=a"]
    assert OverridesParser.create().parse_override(words[0]).value() == ["/home/o'me/a", "/home/o'me/my b", "c"]
    assert OverridesParser.create().parse_override(words[1]).value() == "/home/o'me/x.ckpt"


def test_choices_of_a_sweep_stay_as_typed_and_ranges_stay_numbers() -> None:
    words = as_typed(["run_id=3e563,9e999", "name=choice(1e3,b)", "run_id=range(1,3)"], SCHEMAS["fit"])
    swept = OverridesParser.create().parse_overrides(words)
    assert [list(each.sweep_string_iterator()) for each in swept] == [
        ["'3e563'", "'9e999'"],
        ["'1e3'", "b"],
        ["1", "2"],
    ]
    assert words[2] == "run_id=range(1,3)"


@pytest.mark.parametrize("word", ["name=", "run_id=''", "data.root=", "output="])
def test_empty_text_is_refused(word: str) -> None:
    with pytest.raises(SettingError) as refused:
        as_typed([word], SCHEMAS["predict" if word == "output=" else "fit"])
    assert refused.value.key == word.partition("=")[0]


def test_the_list_of_text_settings_is_complete() -> None:
    text, with_numbers = set[str](), set[str]()
    shipped = (yaml.safe_load(file.read_text()) for file in Path(conf_dir()).rglob("*.yaml"))
    for target in set().union(*map(_targets, shipped)):
        module, _, name = target.rpartition(".")
        for key, parameter in inspect.signature(getattr(importlib.import_module(module), name)).parameters.items():
            kinds = typing.get_args(parameter.annotation) or (parameter.annotation,)
            lists = {each for each in kinds if typing.get_args(each)}
            if {str, list[str], Sequence[str]} & {*kinds, parameter.annotation}:
                (with_numbers if int in kinds or lists - {list[str], Sequence[str]} else text).add(key)
    assert text <= TEXT
    assert with_numbers <= TEXT_OR_NUMBER
    assert not TEXT & TEXT_OR_NUMBER


def _targets(node: object) -> set[str]:
    """The targets of ours in a configuration."""
    if isinstance(node, dict):
        own = {each for each in [str(node.get("_target_"))] if each.startswith("restore.")}
        return own.union(*map(_targets, node.values()))
    return set().union(*map(_targets, node)) if isinstance(node, list) else set()


def test_a_folder_named_by_a_date_is_restored_into_one_named_like_a_number(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "2024_06_01" / "a.png", 16, 16)
    outcome = cli("predict", "ckpt_path=bicubic", "scale=2", "input=2024_06_01", "output=1e3")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "1e3" / "a_x2.png").is_file()
    outcome = cli("evaluate", "ckpt_path=bicubic", "scale=2", "benchmarks=[2024_06_01]", "output=2_0")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "2_0" / "results.csv").is_file()


@pytest.mark.slow  # one training, and starts that compare with it
def test_runs_named_like_numbers_are_runs_of_their_own(cli: Cli, tmp_path: Path) -> None:
    for k in range(3):
        photo(tmp_path / "2024" / f"{k}.png", 40, 50, seed=k)
    options = (
        *TINY,
        "callbacks.panels=null",
        "trainer.max_steps=1",
        "data=sr_folder",
        "data.root=2024",
        "data.num_workers=0",
    )
    assert cli("fit", *options, "run_id=3e563").status == 0
    folder = tmp_path / "outputs" / "super_resolution" / "3e563"
    assert (folder / "result.json").is_file()
    assert not list(tmp_path.rglob("inf"))

    # a file of settings that is older than one of them: the run was made with that one's default
    config = yaml.safe_load((folder / "config.yaml").read_text())
    del config["model"]["attention"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert cli("fit", *options, "run_id=3e563").status == 0
    other = cli("fit", *options, "run_id=3e563", "model.attention=self")
    assert "model.attention: 'gain' -> 'self'" in " ".join(other.err.split())

    shutil.copytree(folder, tmp_path / "2024_06_01")
    shown = cli("table", "runs=[2024_06_01]", "output=1e3.md")
    assert shown.status == 0, shown.err
    assert "2024_06_01" in (tmp_path / "1e3.md").read_text().replace("\\", "")


def own_files(tmp_path: Path) -> str:
    folder = tmp_path / "own"
    for name in ("experiment", "data"):
        (folder / name).mkdir(parents=True)
    (folder / "experiment" / "typed.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /data: mine\nrun_id: 2024_06_01\nname: 3e563\n"
        "init_from: 0x1f\nseed: 1_000\nmodel:\n  lr: 1e-4\n"
    )
    (folder / "data" / "mine.yaml").write_text(
        "defaults: [sr_folder, _self_]\nroot: [2024_06_01, b, 12:30:45]\nbenchmarks: [1e3, true]\n"
        "validation: 2024_06_01\nval_limit: 3\n"
    )
    return f"--config-dir={folder}"


def test_text_in_a_file_of_settings_stays_as_typed(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("fit", own_files(tmp_path), "experiment=typed", "--cfg", "job")
    assert outcome.status == 0, outcome.err
    found = yaml.safe_load(outcome.out)
    typed = {key: found[key] for key in ("run_id", "name", "init_from", "seed")}
    assert typed == {"run_id": "2024_06_01", "name": "3e563", "init_from": "0x1f", "seed": 1000}
    assert float(found["model"]["lr"]) == 1e-4
    assert found["data"]["root"] == ["2024_06_01", "b", "12:30:45"]
    assert found["data"]["benchmarks"] == ["1e3", "true"]
    assert (found["data"]["validation"], found["data"]["val_limit"]) == ("2024_06_01", 3)


def test_a_file_that_names_billions_of_values_is_refused(cli: Cli, tmp_path: Path) -> None:
    own = own_files(tmp_path)
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 12)]
    (tmp_path / "own" / "experiment" / "typed.yaml").write_text("\n".join(["# @package _global_", *lines]))
    outcome = cli("check", own, "experiment=typed")
    assert outcome.status == 1
    assert "typed.yaml" in outcome.err
