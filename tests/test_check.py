"""restore check: what it finds, what it refuses, and whether its forecast comes true."""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import restore.fit  # noqa: F401 -- as a command of its own, and not from within another
from restore.config.command import conf_dir
from restore.data.super_resolution import SuperResolutionData
from restore.preflight import memory
from restore.preflight.dry_run import Lap, Times, Whole
from restore.preflight.forecast import forecast
from tests.conftest import TINY, TINY_TRANSLATION, TINY_ZERO_SHOT, Cli, photo, subprocess_cli


def findings(file: str = "found.json") -> dict[str, list[dict[str, str]]]:
    rows: dict[str, list[dict[str, str]]] = {}
    for row in json.loads(Path(file).read_text())["findings"]:
        rows.setdefault(row["what"], []).append(row)
    return rows


def folders_left() -> set[str]:
    return {each.name for each in Path(tempfile.gettempdir()).glob("restore_check_*")}


def test_a_sound_run_is_tried_and_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    before = folders_left()
    outcome = cli("check", *TINY, "trainer.max_steps=1000", "check.steps=3", "check.output=found.json")
    assert outcome.status == 0, outcome.err
    assert [each.name for each in tmp_path.iterdir()] == ["found.json"]
    assert folders_left() <= before
    rows = findings()
    assert rows["data: training"][0]["found"].startswith("4 pictures whose input is made, 512x512 to 741x500 px")
    assert "opened again it gives the same picture" in rows["checkpoint"][0]["found"]
    assert rows["predict"][0]["found"] == "225x150 px became 450x300 px"
    assert "1000 steps" in rows["stage: training"][0]["found"]
    assert {row["verdict"] for each in rows.values() for row in each} <= {"good", "warning"}
    ahead = json.loads(Path("found.json").read_text())["forecast"]
    parts = ahead["seconds"]
    each = parts["start"] + parts["steps"] + parts["change"] + parts["validations"] + parts["saves"]
    assert parts["training"] == pytest.approx(each)
    assert parts["steps"] == pytest.approx(1000 * ahead["seconds_per_step"]["training"])


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
    outcome = cli("check", *settings, "check.known_counts=false", "check.files=2", "check.output=found.json")
    assert outcome.status == 0, outcome.err
    assert findings()["data"][0]["verdict"] == "warning"
    assert "2 of them opened" in findings()["data: training"][0]["found"]


def test_too_much_memory_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "50")  # MiB
    outcome = cli("check", *TINY, "check.steps=2")
    assert outcome.status == 1
    assert "this machine has 50.0 MiB to give; lower data.batch_size" in outcome.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["what=[step]", "model=translation_tiny"], "model is Translation, expected one with kinds of attention"),
        (["runs=0"], "runs is 0, expected how often each thing is timed, at least 1"),
        (["batch_size=0"], "batch_size is 0, expected at least 1"),
        (["side=-5"], "side is -5, expected at least 1"),
        (["patch_size=7"], "patch_size is 7, expected a multiple of model.scale=2"),
        (["what=[]"], "what is [], expected one or more measurements"),
        (["sides=[64,-3]"], "sides is [64, -3], expected one or more pixels, above 0"),
        (["budgets_gb=[0]"], "budgets_gb is [0.0], expected one or more GiB, above 0"),
        (["what=[budgets]", "picture=[720]"], "picture is [720], expected height and width"),
    ],
)
def test_benchmark_says_what_it_cannot_do(cli: Cli, options: list[str], words: str) -> None:
    outcome = cli("benchmark", *options)
    assert outcome.status == 1
    assert words in outcome.err


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
    assert "val_every_steps is 0, expected a whole number, at least 1" in outcome.err


SLURM_STEP = {  # what srun --ntasks=1 gives its task in a job of two nodes with four tasks each
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_NNODES": "1",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "4",
}


def test_one_task_of_a_slurm_job_is_tried_with_its_share(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM_STEP.items():
        monkeypatch.setenv(name, value)
    sizes, loader = set[int](), SuperResolutionData.train_dataloader

    def noted(data: SuperResolutionData) -> Any:
        sizes.add(data.batch_size)
        return loader(data)

    monkeypatch.setattr(SuperResolutionData, "train_dataloader", noted)
    job = ("trainer=slurm", "trainer.accelerator=cpu", *TINY[1:], "check.steps=2", "check.output=found.json")
    outcome = cli("check", *job, "data.batch_size=32")
    assert outcome.status == 0, outcome.err
    assert sizes == {4}
    assert "for each of 8 processes" in findings()["time"][0]["found"]
    assert "at the peak for 4 processes" in findings()["memory"][0]["found"]


def leave_run(folder: Path) -> None:
    """What a run with other settings would leave, as far as it is looked at."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"")
    (folder / "config.yaml").write_text(json.dumps({"model": {}, "data": {}, "trainer": {}, "seed": 7}))


@pytest.mark.parametrize(
    ("overrides", "environment", "part"),
    [
        (["seed=-1"], {}, "seed is -1, expected a whole number"),
        (["resume=missing.ckpt"], {}, "missing.ckpt is not a file"),
        (["run_id=old"], {}, "holds a run with other settings"),
        (["trainer.devices=0"], {}, "trainer.devices is 0, expected a number of processes"),
        (["trainer.devices=3"], {}, "data.batch_size is 2, expected a multiple of the 3 processes"),
        (["trainer=slurm", "trainer.accelerator=cpu"], {"SLURM_NNODES": "2"}, "trainer.num_nodes is 2, but the"),
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
        f"resume={last}": "last.ckpt is at step 4, trainer.max_steps is 4; set it higher",
        "resume=damaged.ckpt": "damaged.ckpt, expected a sound checkpoint of this package",
        "resume=super_resolution_x2": "super_resolution_x2 is not a file, expected auto or a checkpoint",
        f"resume={last} model.blocks=1": "holds another network (model.",
        f"resume={last} trainer.accumulate_grad_batches=2": "accumulated 1 batches a step",
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


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_ends_it_and_leaves_nothing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, status: int
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "trials"))
    loader = SuperResolutionData.val_dataloader

    def signalled(data: SuperResolutionData) -> Any:
        """In the middle of Lightning's training."""
        os.kill(os.getpid(), number)
        return loader(data)

    monkeypatch.setattr(SuperResolutionData, "val_dataloader", signalled)
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    outcome = cli("check", *TINY, "check.steps=2")
    assert outcome.status == status, outcome.err
    assert "Traceback" not in outcome.err
    assert list((tmp_path / "trials").iterdir()) == []
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before


def test_a_run_folder_of_the_users_is_looked_at_and_stays(cli: Cli) -> None:
    leave_run(Path("mine"))
    outcome = cli("check", *TINY, "hydra.run.dir=mine")
    assert outcome.status == 1
    assert "mine holds a run with other settings" in outcome.err
    assert sorted(each.name for each in Path("mine").iterdir()) == ["checkpoints", "config.yaml"]
    Path("other").mkdir()
    Path("other/notes.txt").write_text("mine")
    assert cli("check", *TINY, "check.steps=2", "hydra.run.dir=other").status == 0
    assert [each.name for each in Path("other").iterdir()] == ["notes.txt"]


def times(stages: dict[str, list[Lap]], validation: float, *, sample: float = 0.0) -> Times:
    pairs = {name: [Whole(validation + 1, 0.5), Whole(validation, 0.5)] for name in stages}
    return Times(start=2.0, laps=stages, validations=pairs, test=Whole(3.0, 1.0), save=0.1, sample=sample)


SETTINGS: dict[str, Any] = {
    "before": 5.0,
    "begin": 0,
    "val_every": 100,
    "save_every": 50,
    "accumulate": 1,
    "period": 1,
    "times": (3.0, 4.0),
    "samples": 4,
    "workers": 0,
    "processes": 1,
}


def test_the_forecast_by_hand() -> None:
    usual = [Lap(0.2, 0.05)] * 5
    laps = {
        "one": [Lap(1.0, 0), Lap(0.3, 0), *usual, Lap(0.2, 0)],
        "two": [Lap(0.2, 0), Lap(0.2, 0), *usual, Lap(2.2, 0)],
    }
    found = forecast(times(laps, 2.0), {"one": 150, "two": 100}, **SETTINGS)
    assert found.steps == pytest.approx(250 * 0.2)
    assert found.change == pytest.approx(0.9 + 2.0)
    # behind the steps 100, 200 and 250: 2 s and twice the pictures' half second; the first took a second longer
    assert found.validations == pytest.approx(3 * (2.0 + 2 * 0.5) + 1.0)
    assert found.saves == pytest.approx((5 + 3) * 0.1)
    assert found.test == pytest.approx(3.0 + 3 * 1.0)
    assert found.waiting == pytest.approx(0.25)
    assert found.total == pytest.approx(5 + 2 + 50 + 2.9 + 10 + 0.8 + 6)


def test_a_run_that_goes_on_has_less_ahead() -> None:
    laps = {name: [Lap(0.2, 0)] * 12 for name in ("one", "two")}
    lengths = {"one": 150, "two": 100}
    whole, late, last = (forecast(times(laps, 2.0), lengths, **(SETTINGS | {"begin": k})) for k in (0, 120, 170))
    assert [each.steps for each in (whole, late, last)] == pytest.approx([250 * 0.2, 130 * 0.2, 80 * 0.2])
    # behind the steps 200 and 250, 3 s each, and the first one's second
    assert late.validations == last.validations == pytest.approx(2 * 3.0 + 1.0)
    assert late.saves == pytest.approx((3 + 2) * 0.1)
    assert late.start == whole.start


def test_processes_share_the_pictures_and_nothing_else() -> None:
    measured = times({"training": [Lap(0.2, 0.0)] * 12}, 2.0)
    one, two, many = (
        forecast(measured, {"training": 100}, **(SETTINGS | {"processes": count})) for count in (1, 2, 100)
    )
    assert one.validations - two.validations == pytest.approx(1.5 * 0.5)  # of three times the pictures tried
    assert one.test - two.test == pytest.approx(2.0 * 1.0)
    assert one.test - many.test == pytest.approx((4 - 1 / 3) * 1.0)  # one of the three tried
    assert one.steps == two.steps == many.steps


def test_the_least_limit_of_memory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "cgroup"
    own.write_text("4:memory:/elsewhere\n0::/system.slice/job_5/step_0/user\n")
    limits = {".": "max", "system.slice": "9000", "system.slice/job_5": "5000", "system.slice/job_5/step_0": "100"}
    for name, limit in limits.items():
        (tmp_path / "groups" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name / "memory.max").write_text(f"{limit}\n")
    assert memory._control_group(tmp_path / "groups", own) == 5000
    assert memory._control_group(tmp_path / "none", own) is None
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "16(x2)")
    assert memory._slurm() == 1600 * 2**20


def test_workers_that_were_ahead_do_not_hide_that_they_are_slow() -> None:
    laps = {"training": [Lap(0.2, 0.0)] * 12}
    slow = SETTINGS | {"workers": 2}
    found = forecast(times(laps, 1.0, sample=0.3), {"training": 100}, **slow)
    assert found.step["training"] == pytest.approx((0.6, 0.4))  # 4 samples of 0.3 s by two workers


def test_what_a_method_does_from_time_to_time_counts() -> None:
    laps = [Lap(0.1, 0)] * 2 + [Lap(0.1, 0), Lap(0.1, 0), Lap(0.4, 0)] * 2 + [Lap(0.1, 0)]
    found = forecast(times({"training": laps}, 1.0), {"training": 90}, **(SETTINGS | {"period": 3}))
    assert found.step["training"].seconds == pytest.approx(0.2)


def test_a_core_that_others_have_is_not_counted() -> None:
    """Against what the operating system says of the same seconds."""
    script = """
import os, time
from restore.preflight import clocks
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
other = os.fork()
if not other:
    while True: pass
before = clocks.wall(), clocks.alone(), time.process_time()
while time.process_time() - before[2] < 0.5: pass
wall, alone, processor = clocks.wall() - before[0], clocks.alone() - before[1], time.process_time() - before[2]
os.kill(other, 9)
assert wall > 1.5 * processor, (wall, processor)
assert alone < 1.1 * processor + 0.05, (alone, processor)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


class Cost(NamedTuple):
    seconds: float
    alone: float
    processor: float
    peak: int


# a fit whose training is timed by the system's own counts, and not by ours
TIMED_FIT = """
import json, sys, time
from pathlib import Path
from lightning.pytorch import Trainer
import restore.fit
fit = Trainer.fit
def now():
    waited = int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    return time.perf_counter(), time.perf_counter() - waited, time.process_time()
def timed(*given, **named):
    before = now()
    fit(*given, **named)
    Path("real.json").write_text(json.dumps([end - start for start, end in zip(before, now())]))
Trainer.fit = timed
restore.fit.main()
"""


def real_training(*overrides: str, cwd: Path) -> Cost:
    """Of the training of a fit in a process of its own; the peak is that of the whole process."""
    with open(cwd / "out.txt", "w") as out:
        argv = [sys.executable, "-c", TIMED_FIT, *overrides]
        process = subprocess.Popen(argv, cwd=cwd, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (cwd / "out.txt").read_text()
    seconds, alone, processor = json.loads((cwd / "real.json").read_text())
    return Cost(seconds, alone, processor, usage.ru_maxrss * 1024)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="macOS counts memory and waiting otherwise")
@pytest.mark.parametrize(
    "settings",
    [
        (
            *("model=super_resolution_tiny", "data.batch_size=4", "data.patch_size=64"),
            *("trainer.max_steps=100", "val_every_steps=50"),
        ),
        (
            *("model=zero_shot", "model.scale=4", "model.width=16", "data=single_image", "data.image=p.png"),
            *("trainer.max_steps=400",),
        ),
    ],
    ids=["super_resolution", "zero_shot"],
)
def test_the_forecast_comes_true(tmp_path: Path, settings: tuple[str, ...]) -> None:
    """Within 30 %: peak memory, and the training's time of the processor and alone on the machine.

    On the wall the time is what others leave, in the run otherwise than in the trial, so it is held by what the run had
    to wait for a core: alone, and on the wall of a machine that did nothing else, are the same.
    """
    photo(tmp_path / "p.png", 120, 180)
    settings = ("trainer=cpu", *settings, "callbacks.progress=null", "threads=1", "run_id=x")
    assert subprocess_cli("check", *settings, "check.output=ahead.json", cwd=tmp_path).returncode == 0
    real = real_training(*settings, cwd=tmp_path)
    ahead = json.loads((tmp_path / "ahead.json").read_text())["forecast"]
    found = {
        "peak": ahead["peak_bytes"] / real.peak,
        "processor": ahead["processor_seconds"]["training"] / real.processor,
        "alone": ahead["seconds_alone"]["training"] / real.alone,
    }
    assert all(abs(math.log(each)) < math.log(1.3) for each in found.values()), found
