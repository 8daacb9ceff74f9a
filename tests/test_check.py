"""restore check: what it finds, what it refuses, and what it leaves."""

import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import restore.fit  # noqa: F401 -- as a command of its own, and not from within another
from restore.config.command import conf_dir
from restore.data.super_resolution import SuperResolutionData
from restore.runs import damage
from tests.conftest import TINY, TINY_TRANSLATION, TINY_ZERO_SHOT, Cli, photo


def findings(file: str = "found.json") -> dict[str, list[dict[str, str]]]:
    rows: dict[str, list[dict[str, str]]] = {}
    for row in json.loads(Path(file).read_text())["findings"]:
        rows.setdefault(row["what"], []).append(row)
    return rows


@pytest.fixture
def trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary folders."""
    (tmp_path / "trials").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "trials"))
    return tmp_path / "trials"


@pytest.mark.usefixtures("whole_photos")
def test_a_sound_run_is_tried_and_leaves_nothing(cli: Cli, tmp_path: Path, trials: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    sound = (*TINY, "trainer.max_steps=1000", "check.steps=3", "check.output=found.json")
    outcome = cli("check", *sound, "hydra.run.dir=other/run")
    assert outcome.status == 0, outcome.err
    assert sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*")) == [
        "found.json",
        "other",
        "other/notes.txt",
        "trials",
    ]
    rows = findings()
    assert rows["data: training"][0]["found"].startswith("4 images with a computed input, 512x512 to 741x500 px")
    assert "loaded again it gives the same output" in rows["checkpoint"][0]["found"]
    assert rows["predict"][0]["found"] == "225x150 px became 450x300 px"
    assert "1000 steps" in rows["stage: training"][0]["found"]
    assert {row["verdict"] for each in rows.values() for row in each} <= {"good", "warning"}
    ahead = json.loads(Path("found.json").read_text())["forecast"]
    assert ahead["seconds"]["steps"] == pytest.approx(1000 * ahead["seconds_per_step"]["training"])


@pytest.mark.slow
def test_every_stage_of_a_translation_is_tried(cli: Cli, tmp_path: Path) -> None:
    for k in range(3):
        photo(tmp_path / "photos" / f"{k}.png", seed=k)
    stages = "model.stages=[{level: 1, share: 0.5}, {level: 0, share: 0.3}, {level: joint, share: 0.2}]"
    settings = ("data.root=photos", "data.validation=1", "trainer.max_steps=100", "trainer.accumulate_grad_batches=2")
    outcome = cli("check", *TINY_TRANSLATION, *settings, stages, "check.steps=2", "check.output=found.json")
    assert outcome.status == 0, outcome.err
    found = {what: rows[0]["found"].rpartition("; ")[2] for what, rows in findings().items() if "stage" in what}
    assert found == {"stage: level 1": "50 steps", "stage: level 0": "30 steps", "stage: joint": "20 steps"}


def test_every_scale_step_of_zero_shot_is_tried(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "p.png")
    outcome = cli(
        "check",
        *TINY_ZERO_SHOT,
        "data.image=p.png",
        "trainer.max_steps=3000",
        "check.steps=2",
        "check.output=found.json",
    )
    assert outcome.status == 0, outcome.err
    rows = findings()
    assert rows["data"][0]["found"] == "p, 50x40 px"
    assert all(rows[f"stage: scale step {k}"][0]["found"].endswith("; 1500 steps") for k in (1, 2))
    assert rows["predict"][0]["found"] == "12x10 px became 48x40 px"


def test_bad_files_end_it_before_anything_is_tried(cli: Cli, tmp_path: Path) -> None:
    for k in range(4):
        photo(tmp_path / "photos" / f"{k}.png", seed=k)
    file = tmp_path / "photos" / "1.png"
    file.write_bytes(file.read_bytes()[:300])
    outcome = cli("check", *TINY, "data.root=photos", "data.validation=1")
    assert outcome.status == 1
    assert "1.png" in outcome.err
    assert "data: 1 problem" in outcome.err
    assert cli("check", *TINY, "data.root=photos", "check.steps=0").status == 1


def test_a_part_of_a_known_set_is_refused_unless_it_is_meant(cli: Cli, tmp_path: Path) -> None:
    for k in range(3):
        photo(tmp_path / "Set5" / "HR" / f"{k}.png", seed=k)
    settings = (*TINY, "data.benchmarks=[Set5]", "check.steps=2")
    outcome = cli("check", *settings)
    assert outcome.status == 1
    assert "holds 3 images, the published set has 5; complete it, or set check.known_counts=false" in outcome.err
    part = ("check.known_counts=false", "check.files=2", "check.output=found.json")
    outcome = cli("check", *settings, *part, "trainer.max_time=1:00:00")
    assert outcome.status == 0, outcome.err
    assert "steps in 1:00:00" in findings()["trainer.max_time"][0]["found"]
    assert findings()["data"][0]["verdict"] == "warning"
    assert "2 of them opened" in findings()["data: training"][0]["found"]


@pytest.mark.parametrize("overrides", [["experiment=translation_contours", "~logger"], ["model=deblur", "data=gopro"]])
def test_it_composes_what_fit_does(overrides: list[str]) -> None:
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        tried, run = (OmegaConf.to_container(compose(name, overrides=overrides)) for name in ("check", "fit"))
    assert isinstance(tried, dict)
    assert tried.pop("check")["steps"] == 12
    assert tried == run


def test_settings_of_the_run_are_refused_as_fit_refuses_them(cli: Cli) -> None:
    outcome = cli("check", *TINY, "val_every_steps=0")
    assert outcome.status == 1
    assert "val_every_steps is 0" in outcome.err


SLURM_STEP = {  # what srun --ntasks=1 gives its task in a job of two nodes with four tasks each
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_NNODES": "1",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "4",
}


def test_one_task_of_a_slurm_job_is_tried_with_its_share_and_refused_for_its_memory(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**SLURM_STEP, "SLURM_MEM_PER_NODE": "50"}.items():  # MiB
        monkeypatch.setenv(name, value)
    sizes, loader = set[int](), SuperResolutionData.train_dataloader

    def noted(data: SuperResolutionData) -> Any:
        sizes.add(data.batch_size)
        return loader(data)

    monkeypatch.setattr(SuperResolutionData, "train_dataloader", noted)
    job = ("trainer=slurm", "trainer.accelerator=cpu", *TINY[1:], "check.steps=2", "check.output=found.json")
    outcome = cli("check", *job, "data.batch_size=32")
    assert outcome.status == 1
    assert "at the peak of 4 processes, 52.4 MB available; lower data.batch_size" in outcome.err
    assert sizes == {4}
    assert "for each of 8 processes" in findings()["time"][0]["found"]


def leave_run(folder: Path) -> None:
    """What a run with other settings would leave, as far as it is looked at."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"")
    (folder / "config.yaml").write_text(json.dumps(dict.fromkeys(damage._ROOT) | {"seed": 7}) + "\n")


@pytest.mark.parametrize(
    ("overrides", "environment", "part"),
    [
        (["seed=-1"], {}, "seed is -1"),
        (["resume=missing.ckpt"], {}, "missing.ckpt is not a file"),
        (["run_id=old"], {}, "holds a run with other settings"),
        (["trainer.devices=0"], {}, "trainer.devices is 0"),
        (["trainer.devices=3"], {}, "data.batch_size is 2"),
        (["trainer=slurm", "trainer.accelerator=cpu"], {"SLURM_NNODES": "2"}, "trainer.num_nodes is 2"),
        (["trainer.devices=2"], {"SLURM_NTASKS": "2"}, "this Slurm job has 2 tasks, and one process was started"),
    ],
)
def test_it_refuses_what_fit_refuses_in_its_words(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, overrides: list[str], environment: dict[str, str], part: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    leave_run(Path("outputs") / "super_resolution" / "old")
    tried, run = (cli(command, *TINY, *overrides) for command in ("check", "fit"))
    assert part in tried.err
    assert (tried.status, tried.err.removeprefix("check")) == (run.status, run.err.removeprefix("fit"))


@pytest.mark.slow
def test_of_a_checkpoint_to_go_on_from_it_says_what_fit_would_say(cli: Cli) -> None:
    assert cli("fit", *TINY, "run_id=a").status == 0
    last = Path("outputs/super_resolution/a/checkpoints/last.ckpt").resolve()
    damaged = Path("damaged.ckpt")
    damaged.write_bytes(last.read_bytes()[:-100] + bytes(100))
    told = {
        f"resume={last}": "trainer.max_steps is 4",
        "resume=damaged.ckpt": "damaged.ckpt, expected a valid checkpoint of this package",
        "resume=super_resolution_x2": "super_resolution_x2 is not a file, expected auto or a checkpoint",
        f"resume={last} model.blocks=1": "holds another network (model.",
        f"resume={last} trainer.accumulate_grad_batches=2": "trainer.accumulate_grad_batches is 2",
    }
    for given, words in told.items():
        settings = given.split()
        tried, run = (cli(command, *TINY, "run_id=b", *settings) for command in ("check", "fit"))
        assert words in tried.err
        assert (tried.status, tried.err.removeprefix("check")) == (run.status, run.err.removeprefix("fit"))
    longer = ("trainer.max_steps=1004", "check.steps=2", "check.output=found.json")
    outcome = cli("check", *TINY, "run_id=b", f"resume={last}", *longer)
    assert outcome.status == 0, outcome.err
    ahead = json.loads(Path("found.json").read_text())["forecast"]
    assert ahead["seconds"]["steps"] == pytest.approx(1000 * ahead["seconds_per_step"]["training"])
    assert findings()["stage: training"][0]["found"].endswith("1000 of 1004 steps")


def test_it_is_one_process(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "2")
    outcome = cli("check", *TINY)
    assert outcome.status == 1
    assert "check tries one process of a run, but 2 were started" in outcome.err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_leaves_nothing(
    cli: Cli, tmp_path: Path, trials: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, status: int
) -> None:
    loader = SuperResolutionData.val_dataloader

    def signalled(data: SuperResolutionData) -> Any:
        """In the middle of Lightning's training."""
        os.kill(os.getpid(), number)
        return loader(data)

    monkeypatch.setattr(SuperResolutionData, "val_dataloader", signalled)
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    outcome = cli("check", *TINY, "check.steps=2")
    assert outcome.status == status, outcome.err
    assert "Traceback" not in outcome.err
    assert list(tmp_path.rglob("*")) == [trials]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_run_folder_of_the_users_is_looked_at_and_stays(cli: Cli) -> None:
    leave_run(Path("mine"))
    outcome = cli("check", *TINY, "hydra.run.dir=mine")
    assert outcome.status == 1
    assert "mine holds a run with other settings" in outcome.err
    assert sorted(each.name for each in Path("mine").iterdir()) == ["checkpoints", "config.yaml"]
