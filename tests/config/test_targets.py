"""What an experiment's file may have built, and what not."""

from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from restore.config.build import LIGHTNING, arguments, build
from restore.io.errors import SettingError
from tests.conftest import TINY, Cli


@pytest.mark.parametrize(
    "target",
    [
        "restore.runs.folder.subprocess.run",  # a module that ours imports
        "restore.runs.folder.RunFolder",
        "restore.io.files.write_text",
        "restore.config.build.build",
        "restore.callbacks.panels.Callback",  # a class of somebody else
        "restore.callbacks.panels.log",
        "restore.data.pair.Pair",
        "restore.nowhere.Nothing",
        "lightning.pytorch.callbacks.LambdaCallback",
        "lightning.pytorch.utilities.rank_zero.os.system",
        "lightning.pytorch.callbacks.callback.Callback",
        "torch.nn.Linear",
        "os.system",
        "builtins.eval",
    ],
)
def test_a_target_beside_the_parts_of_a_training_is_refused(target: str) -> None:
    node = OmegaConf.create({"_target_": target, "x": 1})
    for make in (build, arguments):
        with pytest.raises(SettingError) as refused:
            make(node, "part")
        assert refused.value.key == "part._target_"


@pytest.mark.parametrize("key", ["_args_", "_partial_", "_recursive_", "_convert_"])
def test_hydras_special_keys_are_refused(key: str) -> None:
    node = OmegaConf.create({"_target_": "restore.callbacks.ema.EMA", key: ["x"] if key == "_args_" else True})
    with pytest.raises(SettingError) as refused:
        build(node, "part")
    assert refused.value.key == f"part.{key}"


@pytest.mark.parametrize("target", sorted(LIGHTNING))
def test_what_is_listed_of_lightning_exists(target: str) -> None:
    assert isinstance(hydra.utils.get_object(target), type)


def test_parts_are_built() -> None:
    from lightning.pytorch.callbacks import Timer

    assert isinstance(build(OmegaConf.create({"_target_": "lightning.pytorch.callbacks.Timer"}), "part"), Timer)
    built = build(OmegaConf.create({"_target_": "restore.degradations.basic.GaussianBlur", "low": 1.0}), "part")
    assert built.low == 1


def test_no_command_of_an_experiments_file_is_run(cli: Cli, tmp_path: Path) -> None:
    marker = tmp_path / "was_here"
    target = "+callbacks.own._target_=restore.runs.folder.subprocess.getoutput"
    outcome = cli("check", *TINY, target, f"+callbacks.own.cmd='touch {marker}'")
    assert outcome.status == 1
    assert "callbacks.own._target_" in " ".join(outcome.err.split())
    assert not marker.exists()
