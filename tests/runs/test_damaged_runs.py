"""Run folders whose small files are damaged: the run goes on bit-exact, or one sentence names file and remedy."""

import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from restore.callbacks.metrics_csv import MetricsCSV
from restore.checkpoints import reader
from restore.runs import damage, resume
from restore.runs import folder as run_folder
from restore.runs.report import write_report
from tests.conftest import TINY, Cli, photo
from tests.stand_in_curves import one_pixel

NAMES = ("config.yaml", "overrides.yaml", "environment.json", "metrics.csv", "run_token")
AT_THE_END = ("result.json", "results.csv", "report.html", "curves.png")


def _flip(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]


# what becomes of a file's bytes; None: another kind of file
KINDS: dict[str, Callable[[bytes, random.Random], bytes] | None] = {
    "truncated": lambda content, draw: content[: draw.randrange(len(content))],
    "zeroed": lambda content, draw: bytes(len(content)),
    "flipped": _flip,
    "missing": None,
    "another type": lambda content, draw: b"[1, 2]\n",
    "a folder": None,
}


def hurt(path: Path, kind: str, seed: int = 0) -> None:
    change, content = KINDS[kind], path.read_bytes()
    path.unlink()
    if change is not None:
        path.write_bytes(change(content, random.Random(f"{path.name} {kind} {seed}")))
    elif kind == "a folder":
        path.mkdir()
        (path / "kept").write_bytes(content)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run ``whole``, which is finished, and ``x``, the same but killed after its third step."""
    from restore import fit
    from restore.callbacks import curves
    from tests.test_fit import crash_at

    folder = tmp_path_factory.mktemp("runs")
    for k in range(3):
        photo(folder / "photos" / f"{k}.png", seed=k)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("SLURM_JOB_ID", raising=False)
        patch.setattr(curves, "draw_curves", one_pixel)
        patch.setattr(sys, "argv", ["fit", "--run", *options(folder), "run_id=whole"])
        fit.main()
        patch.setattr(sys, "argv", ["fit", "--run", *options(folder), "run_id=x"])
        crash_at(patch, 3)
        with pytest.raises(BaseException, match=r"^$"):  # the crash has a class of its own
            fit.main()
    return folder


def options(folder: Path) -> tuple[str, ...]:
    data = ("data=sr_folder", f"data.root={folder / 'photos'}", "data.validation=1", "data.num_workers=0")
    return (
        *TINY,
        "callbacks.panels=null",
        *data,
        "trainer.max_steps=4",
        "val_every_steps=2",
        "checkpoint.every_steps=2",
    )


def copied(runs: Path, to: Path, run_id: str) -> Path:
    place = Path("outputs") / "super_resolution" / run_id
    shutil.copytree(runs / place, to / place)
    return to / place


def weights(folder: Path) -> dict[str, Any]:
    read = reader.read(folder / "checkpoints" / "last.ckpt")
    return {**read["state_dict"], **{f"average {key}": value for key, value in read["ema"].items()}}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_bit_exact_with_all_its_small_files_damaged(
    cli: Cli, tmp_path: Path, runs: Path, kind: str
) -> None:
    folder = copied(runs, tmp_path, "x")
    token = (folder / "run_token").read_text()
    # what is flipped in the settings may be another setting, which is refused
    names = [name for name in NAMES if kind != "flipped" or name != "config.yaml"]
    for name in names:
        hurt(folder / name, kind)
    outcome = cli("fit", *options(runs), "run_id=x")
    assert outcome.status == 0, outcome.err
    assert "resumed at step 2" in outcome.out
    expected, found = weights(runs / "outputs" / "super_resolution" / "whole"), weights(folder)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    result = json.loads((folder / "result.json").read_text())
    if kind != "flipped":
        assert {"config.yaml", "environment.json", "metrics.csv"} <= {each.split()[0] for each in result["warnings"]}
        assert len((folder / "run_token").read_text()) == 8
    else:
        assert (folder / "run_token").read_text() in (
            token,
            yaml.safe_load((folder / "config.yaml").read_text())["run_token"],
        )
    if kind in ("zeroed", "another type", "a folder"):
        assert {path.name for path in folder.glob("*.damaged*")} >= {"config.damaged.yaml", "environment.damaged.json"}
    assert cli("fit", *options(runs), "run_id=x").status == 0  # it is sound again, and finished


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*NAMES, *AT_THE_END])
def test_every_small_file_can_be_damaged_in_every_way(tmp_path: Path, runs: Path, name: str, kind: str) -> None:
    """As a start does it, but for the training."""
    for seed in range(3 if KINDS[kind] else 1):
        folder = copied(runs, tmp_path / str(seed), "x" if name in NAMES else "whole")
        config = yaml.safe_load((folder / "config.yaml").read_text())
        is_finished = name in AT_THE_END and name != "result.json"
        hurt(folder / name, kind, seed)
        token = run_folder.run_token(folder)
        assert token == config["run_token"] or (name, kind) == ("run_token", "flipped")
        try:
            point = resume.resume_point(folder, config, "auto")
        except ValueError as error:
            assert name == "config.yaml"
            assert kind == "flipped"
            assert "if its config.yaml is wrong, remove that" in str(error)
            continue
        if point is None:
            assert is_finished or kind == "flipped"
        found = damage.small_files(folder, needed=["config.yaml", "environment.json", "metrics.csv"])
        logger = MetricsCSV(folder=str(folder))
        logger.begin_at(2)
        damage.set_aside(found)
        run_folder.describe(folder, config, [], {"warnings": list(found.values())})
        logger.log_metrics({"train/loss": 1.0}, 3)
        assert run_folder.warnings(folder) == list(found.values())
        rows, is_whole = damage.metrics(folder / "metrics.csv")
        assert is_whole
        assert rows[-1]["step"] == "3"
        write_report(folder, "training")
        assert kind == "flipped" or not any((folder / each).is_dir() for each in (*NAMES, *AT_THE_END))


def test_a_damaged_result_is_made_again_where_there_is_a_checkpoint(cli: Cli, tmp_path: Path, runs: Path) -> None:
    folder = copied(runs, tmp_path, "whole")
    before = json.loads((folder / "result.json").read_text())
    hurt(folder / "result.json", "zeroed")
    outcome = cli("fit", *options(runs), "run_id=whole")
    assert outcome.status == 0, outcome.err
    after = json.loads((folder / "result.json").read_text())
    assert after["metrics"] == before["metrics"]
    assert any(each.startswith("result.json was damaged") for each in after["warnings"])
    shutil.rmtree(folder / "checkpoints")
    (folder / "result.json").write_text('{"monitor": 1, "value": null, "steps": 4}')
    refused = cli("fit", *options(runs), "run_id=whole")
    assert refused.status == 1
    assert "result.json is damaged" in " ".join(refused.err.split())


def test_a_resumed_run_says_that_another_image_is_held_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for held_out in (["b"], ["b"], ["c"]):
        run_folder.describe(tmp_path, {}, [], {"held_out": held_out})
    (said,) = [each for each in caplog.messages if "holds out" in each]
    assert said.startswith("data.root now holds out c instead of b")
    assert [start["held_out"] for start in damage.starts(tmp_path)] == [["b"], ["b"], ["c"]]
    (tmp_path / "environment.json").write_text('{"starts": [{"time": "of an older version"}]}')
    run_folder.describe(tmp_path, {}, [], {"held_out": ["d"]})
    assert len([each for each in caplog.messages if "holds out" in each]) == 1
