import contextlib
import csv
import json
import math
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from restore.callbacks.run_timer import RunTimer
from restore.checkpoints import reader
from restore.io.files import locked, read_mapping
from restore.models import loading
from restore.models.super_resolution import SuperResolution
from tests import fork_server
from tests.conftest import TINY, TINY_DEBLUR, TINY_TRANSLATION, TINY_ZERO_SHOT, Cli, blurred_pair, photo
from tests.held_training import HoldAt, wait_until_held

QUICK = ("callbacks.panels=null", "val_every_steps=100")
FAST = (*TINY, *QUICK)

# what every method's runs must stand: small settings of each whose samples have much drawn at random
METHODS = {
    "super_resolution": (*TINY, *QUICK, "data=photos_degraded"),
    "deblur": (*TINY_DEBLUR, *QUICK, "data.root=photos", "data.validation=1"),
    "zero_shot": (*TINY_ZERO_SHOT, *QUICK, "data.image=photos/0.png"),
    "translation": (
        *TINY_TRANSLATION,
        *QUICK,
        "data.root=photos",
        "data.validation=1",
        "model.augment=[color,cutout]",
        "model.style_weight=0",
    ),
}
IN_PROCESS = {"zero_shot"}  # read without loader workers: the fathers change while it trains
every_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture
def photos(tmp_path: Path) -> None:
    """Three pictures small enough to be blurred and validated often."""
    for k in range(3):
        photo(tmp_path / "photos" / f"{k}.png", seed=k)


def test_every_method_is_among_those_tested() -> None:
    assert set(METHODS) == set(loading.METHODS)


def run_folder(tmp_path: Path, run_id: str, name: str = "super_resolution") -> Path:
    return tmp_path / "outputs" / name / run_id


def last(tmp_path: Path, run_id: str, **where: str) -> dict[str, Any]:
    return reader.read(run_folder(tmp_path, run_id, **where) / "checkpoints" / "last.ckpt")


def same_weights(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(torch.equal(a[key][name], b[key][name]) for key in ("state_dict", "ema") for name in a.get(key, ()))


@pytest.mark.usefixtures("real_curves")
def test_a_run_folder_describes_itself(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("fit", *TINY, "run_id=a", "val_every_steps=2", "trainer.max_steps=5")
    assert outcome.status == 0, outcome.err
    folder = run_folder(tmp_path, "a")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "config.yaml",
        "overrides.yaml",
        "environment.json",
        "metrics.csv",
        "curves.png",
        "train.log",
        "result.json",
        "results.csv",
        "baseline.csv",
        "report.html",
        "run_token",
        "lock",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        *(f"panels/chelsea_{step:07d}.png" for step in (2, 4, 5)),
    }
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["data"]["scale"] == 2
    assert "${" not in (folder / "config.yaml").read_text()
    assert "trainer.max_steps=5" in yaml.safe_load((folder / "overrides.yaml").read_text())
    start = json.loads((folder / "environment.json").read_text())["starts"][0]
    assert start["device"] == "cpu"
    assert set(start["data"]) == {"training", "photos_held_out"}
    assert start["packages"]["torch"] == torch.__version__.split("+")[0]
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5]
    assert [bool(row["val/photos_held_out/psnr_y"]) for row in rows] == [False, True, False, True, True]
    result = json.loads((folder / "result.json").read_text())
    assert result["monitor"] == "best/psnr_y"
    assert result["steps"] == result["steps_run"] == 5
    best = max(float(row["val/photos_held_out/psnr_y"] or 0) for row in rows)
    assert result["value"] == pytest.approx(best, abs=1e-4)
    # the test scores the averaged weights of best.ckpt, which is what validation saw
    assert result["metrics"]["test/photos_held_out/psnr_y"] == pytest.approx(best, abs=1e-4)


def test_a_finished_run_answers_at_once_and_a_changed_one_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *FAST, "run_id=a").status == 0
    before = (run_folder(tmp_path, "a") / "result.json").read_bytes()
    again = cli("fit", *FAST, "run_id=a", "data.num_workers=1")
    assert again.status == 0
    assert "already finished" in again.out
    assert (run_folder(tmp_path, "a") / "result.json").read_bytes() == before
    changed = cli("fit", *FAST, "run_id=a", "model.lr=0.5")
    assert changed.status == 1
    assert "model.lr: 0.001 -> 0.5" in changed.err


@pytest.mark.slow
@every_method
@pytest.mark.usefixtures("photos")
def test_loader_workers_change_nothing_and_seeds_do(cli: Cli, tmp_path: Path, method: str) -> None:
    workers = {"w0": ["data.num_workers=0"], "w2": ["data.num_workers=2"]}
    if method in IN_PROCESS:
        workers = {run_id: [] for run_id in workers}
    for run_id, extra in {**workers, "s1": ["seed=1"]}.items():
        outcome = cli("fit", *METHODS[method], f"run_id={run_id}", *extra)
        assert outcome.status == 0, outcome.err
    first = last(tmp_path, "w0", name=method)
    assert same_weights(first, last(tmp_path, "w2", name=method))
    assert not same_weights(first, last(tmp_path, "s1", name=method))


def test_resume_from_a_checkpoint_starts_a_new_run_there(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *FAST, "run_id=a", "trainer.max_steps=3").status == 0
    source = run_folder(tmp_path, "a") / "checkpoints" / "last.ckpt"
    outcome = cli("fit", *FAST, "run_id=b", "trainer.max_steps=5", f"resume={source}")
    assert outcome.status == 0, outcome.err
    assert "resumed at step 3" in outcome.out
    result = json.loads((run_folder(tmp_path, "b") / "result.json").read_text())
    assert (result["steps"], result["steps_run"]) == (5, 2)


def test_a_second_process_is_kept_out_of_a_run_folder(cli: Cli, tmp_path: Path) -> None:
    run_folder(tmp_path, "a").mkdir(parents=True)
    with locked(run_folder(tmp_path, "a")):
        outcome = cli("fit", *FAST, "run_id=a")
    assert outcome.status == 1
    assert "run_id is a, expected another run, because another process is training in" in outcome.err
    assert cli("fit", *FAST, "run_id=a").status == 0


def test_a_run_without_loggers_and_callbacks_works(cli: Cli, tmp_path: Path) -> None:
    plain = [option for option in TINY if not option.startswith("callbacks")]
    outcome = cli("fit", *plain, "~logger", "~callbacks", "val_every_steps=2", "run_id=a")
    assert outcome.status == 0, outcome.err
    assert "ema" not in last(tmp_path, "a")
    assert not (run_folder(tmp_path, "a") / "metrics.csv").exists()


def crash_at(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Ends the next training as abruptly as a kill when it begins its ``batch``-th batch (from 0), or never (-1)."""

    class Crash(BaseException):
        pass

    original = RunTimer.on_train_batch_start

    def crash(self: RunTimer, trainer: Any, pl_module: Any, data: Any, batch_idx: int) -> None:
        if self.batches == batch:
            raise Crash
        original(self, trainer, pl_module, data, batch_idx)

    monkeypatch.setattr(RunTimer, "on_train_batch_start", crash)


def survive(cli: Cli, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], crashes: list[int]) -> None:
    for batch in crashes:
        with monkeypatch.context() as patch:
            crash_at(patch, batch)
            with contextlib.suppress(BaseException):
                cli("fit", *options)
    outcome = cli("fit", *options)
    assert outcome.status == 0, outcome.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("every", "validate", "crashes"),
    [(3, 3, [9, 0, 1, 3]), (2, 5, [12, 1, 1])],
)
def test_crashes_between_accumulated_batches_change_nothing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, validate: int, crashes: list[int]
) -> None:
    steps = ["trainer.max_steps=9", "trainer.accumulate_grad_batches=2", f"checkpoint.every_steps={every}"]
    options = (*TINY, "callbacks.panels=null", f"val_every_steps={validate}", *steps)
    assert cli("fit", *options, "run_id=whole").status == 0
    survive(cli, monkeypatch, (*options, "run_id=x"), crashes)
    whole, crashed = last(tmp_path, "whole"), last(tmp_path, "x")
    assert same_weights(whole, crashed)
    moments = [state["optimizer_states"][0]["state"] for state in (whole, crashed)]
    assert all(torch.equal(moments[0][k]["exp_avg_sq"], moments[1][k]["exp_avg_sq"]) for k in moments[0])
    results = [json.loads((run_folder(tmp_path, r) / "result.json").read_text()) for r in ("whole", "x")]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert results[0]["value"] == results[1]["value"]


def test_a_run_killed_before_its_result_is_finished_by_the_same_command(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *FAST, "run_id=a").status == 0
    file = run_folder(tmp_path, "a") / "result.json"
    before = json.loads(file.read_text())
    table = (file.parent / "metrics.csv").read_text()
    file.unlink()
    outcome = cli("fit", *FAST, "run_id=a")
    assert outcome.status == 0, outcome.err
    after = json.loads(file.read_text())
    assert (after["value"], after["metrics"]) == (before["value"], before["metrics"])
    assert after["steps_run"] == 0
    assert (file.parent / "metrics.csv").read_text() == table


def test_a_new_run_never_takes_over_another_runs_best(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("fit", *FAST, "run_id=a", "trainer.max_steps=6", "val_every_steps=6").status == 0
    source = run_folder(tmp_path, "a") / "checkpoints" / "last.ckpt"
    worse = ["model.lr=0.3", "model.schedule=halving", "trainer.max_steps=10", "checkpoint.every_steps=50"]
    options = (*TINY, "callbacks.panels=null", "val_every_steps=2", *worse, f"resume={source}")
    assert cli("fit", *options, "run_id=whole").status == 0
    survive(cli, monkeypatch, (*options, "run_id=x"), [3])  # behind its first best.ckpt, before its first last.ckpt
    results = [json.loads((run_folder(tmp_path, r) / "result.json").read_text()) for r in ("a", "whole", "x")]
    assert results[1]["value"] < results[0]["value"]
    assert results[2]["value"] == results[1]["value"]
    assert results[2]["metrics"]["test/photos_held_out/psnr_y"] == pytest.approx(results[2]["value"], abs=1e-4)


def test_slurm_variables_change_nothing(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NTASKS": "1", "JOB_ID": "41", "JOB_NAME": "train", "LOCALID": "0", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_NODEID", "0")
    before = signal.getsignal(signal.SIGUSR1)
    assert cli("fit", *FAST).status == 0
    assert (run_folder(tmp_path, "41") / "result.json").exists()
    assert signal.getsignal(signal.SIGUSR1) == before


@pytest.mark.parametrize("name", ["config.yaml", "result.json", "environment.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe\x00", b'{"a'])
def test_damaged_files_of_a_run_folder_are_named_and_nothing_is_lost(
    cli: Cli, tmp_path: Path, name: str, content: bytes
) -> None:
    folder = run_folder(tmp_path, "a")
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"")
    (folder / "run_token").write_text("12345678")
    (folder / name).write_bytes(content)
    outcome = cli("fit", *FAST, "run_id=a")
    assert outcome.status == 1
    assert "resume is auto, and last.ckpt in" in outcome.err
    assert "Traceback" not in outcome.err
    assert (folder / name).read_bytes() == content
    assert (folder / "run_token").read_text() == "12345678"
    with pytest.raises(ValueError, match=rf"{name} is damaged"):
        read_mapping(folder / name, ("starts",))


@pytest.mark.parametrize(("steps", "validate"), [(4, 2), (3, 100)])
def test_a_finished_run_can_be_prolonged_with_another_rate(cli: Cli, tmp_path: Path, steps: int, validate: int) -> None:
    options = [*TINY, "callbacks.panels=null", f"val_every_steps={validate}"]
    assert cli("fit", *options, "run_id=a", f"trainer.max_steps={steps}").status == 0
    source = run_folder(tmp_path, "a") / "checkpoints" / "last.ckpt"
    rate = ["model.lr=0.25", "model.schedule=halving", "model.betas=[0.5,0.6]"]
    outcome = cli("fit", *options, *rate, "run_id=b", f"trainer.max_steps={steps + 2}", f"resume={source}")
    assert outcome.status == 0, outcome.err
    with (run_folder(tmp_path, "b") / "metrics.csv").open() as file:
        rates = [float(row["train/lr"]) for row in csv.DictReader(file) if row["train/lr"]]
    assert rates == [0.25, 0.25]
    assert last(tmp_path, "b")["optimizer_states"][0]["param_groups"][0]["betas"] == (0.5, 0.6)
    assert json.loads((run_folder(tmp_path, "b") / "result.json").read_text())["steps_run"] == 2


def test_broken_weights_never_reach_a_checkpoint(cli: Cli, tmp_path: Path) -> None:
    wild = ["model.lr=1e30", "model.schedule=halving", "checkpoint.every_steps=1", "trainer.max_steps=3"]
    outcome = cli("fit", *FAST, "run_id=a", *wild)
    assert outcome.status == 1
    assert "not finite" in outcome.err
    assert "Traceback" not in outcome.err
    assert not list((run_folder(tmp_path, "a") / "checkpoints").glob("*"))


@pytest.mark.usefixtures("points_here")
def test_a_sweep_trains_every_point_in_its_own_folder(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("fit", "-m", *FAST, "seed=1,2", "logger=wandb", "logger.wandb.offline=true")
    assert outcome.status == 0, outcome.err
    results = list((tmp_path / "multirun" / "super_resolution").rglob("result.json"))
    assert len(results) == 2
    tokens = {(path.parent / "run_token").read_text() for path in results}
    runs = {path.name.rsplit("-", 1)[1] for path in tmp_path.rglob("offline-run-*") if path.is_dir()}
    assert runs == tokens
    assert len(tokens) == 2


def test_what_cannot_be_resumed_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *FAST, "run_id=a", "trainer.max_steps=2", "callbacks.ema=null").status == 0
    source = run_folder(tmp_path, "a") / "checkpoints" / "last.ckpt"
    there = cli("fit", *FAST, "run_id=b", "trainer.max_steps=2", f"resume={source}")
    assert there.status == 1
    assert "trainer.max_steps is 2" in there.err
    for change in ("model.channels=8", "model.attention=self"):
        other = cli("fit", *FAST, "run_id=c", change, f"resume={source}")
        assert other.status == 1
        assert "holds another network (model." in other.err
    counted = cli("fit", *FAST, "run_id=c", "trainer.accumulate_grad_batches=2", f"resume={source}")
    assert counted.status == 1
    assert "trainer.accumulate_grad_batches is 2" in counted.err
    averaged = cli("fit", *FAST, "run_id=d", "trainer.max_steps=3", f"resume={source}")
    assert averaged.status == 0, averaged.err
    assert "ema" in last(tmp_path, "d")
    assert "ema" not in last(tmp_path, "a")


def test_a_setting_that_a_checkpoint_is_too_old_to_hold_had_its_default(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *FAST, "run_id=a", "trainer.max_steps=2").status == 0
    source = run_folder(tmp_path, "a") / "checkpoints" / "last.ckpt"
    old = torch.load(source, weights_only=True)
    del old["restore"]["arguments"]["attention"]  # whose default is what the run was made with
    torch.save(old, tmp_path / "old.ckpt")
    outcome = cli("fit", *FAST, "run_id=b", "trainer.max_steps=3", f"resume={tmp_path / 'old.ckpt'}")
    assert outcome.status == 0, outcome.err
    other = cli("fit", *FAST, "run_id=c", "model.attention=self", f"resume={tmp_path / 'old.ckpt'}")
    assert "model.attention: 'gain' -> 'self'" in " ".join(other.err.split())


def test_weights_of_another_scale_can_be_started_from(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *FAST, "run_id=x2").status == 0
    source = run_folder(tmp_path, "x2") / "checkpoints" / "best.ckpt"
    model = SuperResolution(scale=4, groups=2, blocks=2, channels=16)
    state = reader.network_weights(reader.read(source), "ema")
    report = model.network.init_from(state)
    assert report["missing"] == ["upsampler.2.weight", "upsampler.2.bias"]
    assert report["unexpected"] == report["reshaped"] == []
    assert torch.equal(model.network.head.weight, state["head.weight"])
    outcome = cli("fit", *FAST, "run_id=x4", "model.scale=4", f"init_from={source}", "trainer.max_steps=1")
    assert outcome.status == 0, outcome.err
    assert "init_from: 2 missing weights: upsampler.2.weight, upsampler.2.bias" in " ".join(outcome.out.split())


def test_deblurring_runs_describe_themselves_and_keep_the_warnings_of_their_data(cli: Cli, tmp_path: Path) -> None:
    for k in range(4):
        blurred_pair(tmp_path / "set" / "train" / "scene", f"{k}", seed=k)
    data = ["data=deblur_folder", "data.root=set", "data.validation=last_frames", "data.num_workers=0"]
    options = [*TINY_DEBLUR, *data, "callbacks=attention", "callbacks.attention.module=a6.0", "val_every_steps=4"]
    outcome = cli("fit", *options, "run_id=a")
    assert outcome.status == 0, outcome.err
    folder = run_folder(tmp_path, "a", name="deblur")
    result = json.loads((folder / "result.json").read_text())
    assert (result["monitor"], result["protocol"]) == ("best/psnr_rgb", "deblur_rgb")
    assert set(result["metrics"]) >= {"test/set_last_frames/psnr_rgb", "test/set_last_frames/ssim_rgb"}
    assert ["scene is in training and in set_last_frames" in warning for warning in result["warnings"]] == [True]
    start = json.loads((folder / "environment.json").read_text())["starts"][0]
    assert start["warnings"] == result["warnings"]
    panels = {path.relative_to(folder / "panels").as_posix() for path in (folder / "panels").rglob("*.png")}
    assert panels == {"scene/3_0000004.png", "scene/3_attention_0000004.png"}


@pytest.mark.usefixtures("photos")
def test_the_schedules_of_deblurring_end_at_zero_and_a_prolonged_run_takes_its_own(cli: Cli, tmp_path: Path) -> None:
    rate = ["model.lr=0.001", "trainer.max_steps=4"]
    for schedule in ("polynomial", "cosine"):
        outcome = cli("fit", *METHODS["deblur"], *rate, f"model.schedule={schedule}", f"run_id={schedule}")
        assert outcome.status == 0, outcome.err

    def rates(run_id: str) -> list[float]:
        with (run_folder(tmp_path, run_id, name="deblur") / "metrics.csv").open() as file:
            return [float(row["train/lr"]) for row in csv.DictReader(file)]

    assert rates("polynomial") == pytest.approx([0.001 * (1 - k / 4) ** 0.3 for k in range(4)])
    assert rates("cosine") == pytest.approx([0.001 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)])
    source = run_folder(tmp_path, "cosine", name="deblur") / "checkpoints" / "last.ckpt"
    other = ["model.weight_decay=0.5", "model.loss=l1", "trainer.max_steps=5", f"resume={source}"]
    outcome = cli("fit", *METHODS["deblur"], *other, "run_id=longer")
    assert outcome.status == 0, outcome.err
    group = last(tmp_path, "longer", name="deblur")["optimizer_states"][0]["param_groups"][0]
    assert group["weight_decay"] == 0.5


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(cli: Cli, tmp_path: Path) -> None:
    huge = ["model.lr=1e10", "trainer.max_steps=20", "checkpoint.every_steps=1", "model.schedule=halving"]
    outcome = cli("fit", *FAST, "run_id=a", *huge)
    assert outcome.status == 1
    found = re.search(r"the loss is not finite at step (\d+), on the images (\w+), (\w+);", outcome.err)
    assert found
    folder = run_folder(tmp_path, "a")
    kept = torch.load(folder / "non_finite.pt", weights_only=True)
    assert kept["names"] == [found[2], found[3]]
    assert kept["newest_batch"]["lq"].shape == (2, 3, 16, 16)
    saved = last(tmp_path, "a")
    assert saved["global_step"] == int(found[1]) - 1
    assert not (folder / "result.json").exists()


def test_wandb_works_offline_and_keeps_its_id(cli: Cli, tmp_path: Path) -> None:
    options = [*TINY, "logger=wandb", "logger.wandb.offline=true", "val_every_steps=2", "trainer.max_steps=2"]
    outcome = cli("fit", *options, "run_id=a")
    assert outcome.status == 0, outcome.err
    folder = run_folder(tmp_path, "a")
    token = (folder / "run_token").read_text()
    runs = [path.name for path in (folder / "wandb").glob("offline-run-*")]
    assert len(runs) == 1
    assert runs[0].endswith(token)
    assert list((folder / "wandb").rglob("media/images/panels/*.png"))
    assert (folder / "metrics.csv").exists()


def test_the_published_schedule_halves_and_the_default_ends_near_zero(cli: Cli, tmp_path: Path) -> None:
    halving = ["model.schedule=halving", "model.halve_every=2", "model.lr=0.008", "model.warmup_steps=0"]
    assert cli("fit", *FAST, "run_id=h", "trainer.max_steps=6", *halving).status == 0
    assert cli("fit", *FAST, "run_id=c", "trainer.max_steps=6", "model.warmup_steps=2").status == 0

    def rates(run_id: str) -> list[float]:
        with (run_folder(tmp_path, run_id) / "metrics.csv").open() as file:
            return [float(row["train/lr"]) for row in csv.DictReader(file)]

    assert rates("h") == pytest.approx([0.008, 0.008, 0.004, 0.004, 0.002, 0.002])
    cosine = rates("c")
    assert cosine[0] < cosine[1] < cosine[2]
    assert cosine[2] > cosine[3] > cosine[4] > cosine[5] > 0
    assert cosine[5] < 0.1 * cosine[2]


def test_the_average_follows_the_weights_and_both_are_kept(cli: Cli, tmp_path: Path) -> None:
    weights = []
    for steps in (1, 2):
        # same seed and the same rate at every step, so the longer run passes through the shorter one
        options = ["model.schedule=halving", f"trainer.max_steps={steps}", "callbacks.ema.decay=0.1"]
        assert cli("fit", *FAST, f"run_id={steps}", *options).status == 0
        weights.append(last(tmp_path, str(steps)))
    raw = [w["state_dict"]["network.head.weight"] for w in weights]
    average = [w["ema"]["head.weight"] for w in weights]
    assert torch.equal(weights[0]["ema"]["mean"], weights[0]["state_dict"]["network.mean"])
    decay = min(0.1, 2 / 12)
    assert torch.allclose(average[1], decay * average[0] + (1 - decay) * raw[1], atol=1e-7)
    assert not torch.allclose(average[1], raw[1], atol=1e-7)


def test_compiling_leaves_no_mark_in_the_checkpoint(cli: Cli, tmp_path: Path) -> None:
    model = SuperResolution(groups=1, blocks=1, channels=8, compile=True)
    plain = set(model.network.state_dict())
    model.setup("fit")
    assert set(model.network.state_dict()) == plain


EXPERIMENTS = sorted(p.stem for p in (Path(__file__).parent.parent / "conf" / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs_a_step(
    cli: Cli, tmp_path: Path, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    for k in range(2):
        photo(tmp_path / "set" / f"{k}.png", 96, 96, seed=k)
        blurred_pair(tmp_path / "set" / "train" / f"{k}", "0", seed=k)
        for folder in ("contours", "images"):
            photo(tmp_path / "bsds" / folder / "train" / f"{k}.png", 150, 160, seed=k)
    small = ["data.root=set", "data.validation=1", "data.batch_size=1", "data.num_workers=0", "data.benchmarks=[]"]
    if experiment == "zero_shot":
        small = ["data.image=set/0.png", "model.scale=2.0"]
    if experiment == "translation_contours":
        small = [*small[1:], f"data.root={tmp_path / 'bsds'}", "model.stages=[]"]
    if experiment == "translation_camvid":
        for k in range(2):
            photo(tmp_path / "camvid/train/B" / f"{k}.png", 150, 160, seed=k)
            (tmp_path / "camvid/train/A").mkdir(exist_ok=True)
            Image.new("L", (160, 150), k).save(tmp_path / "camvid/train/A" / f"{k}.png")
        small = [*small[1:], f"data.root={tmp_path / 'camvid'}", "model.stages=[]"]
    if experiment == "translation_emoji":
        small = [*small[1:], f"data.root={tmp_path / 'bsds'}", "data.folder_a=contours", "data.folder_b=images"]
    once = ["trainer.max_steps=1", "trainer.accelerator=cpu", "callbacks.progress=null", "name=e", "run_id=a"]
    crop = ["data.patch_size=33" if experiment == "super_resolution_x3" else "data.patch_size=32"]
    if experiment in ("zero_shot", "translation_contours", "translation_camvid"):
        crop = []
    shallow = ["model.groups=2"] if experiment == "super_resolution_published" else []
    outcome = cli("fit", f"experiment={experiment}", *small, *once, *crop, *shallow)
    assert outcome.status == 0, outcome.err
    assert json.loads((run_folder(tmp_path, "a", name="e") / "result.json").read_text())["steps_run"] == 1


# --- killed and resumed ---

EVERY, STEPS = 4, 24
KILLED = (
    f"trainer.max_steps={STEPS}",
    "trainer.accumulate_grad_batches=2",
    f"checkpoint.every_steps={EVERY}",
    "val_every_steps=7",
)


@pytest.mark.slow
@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("method", "workers"),  # translation: tests/test_translation_runs.py
    [("super_resolution", 2), ("deblur", 0), ("zero_shot", None)],
)
def test_a_killed_run_goes_on_and_ends_bit_identical(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, workers: int | None
) -> None:
    options = (*METHODS[method], *KILLED)
    loader = [] if workers is None else [f"data.num_workers={workers}"]
    whole = cli("fit", *options, "run_id=whole")
    assert whole.status == 0, whole.err
    folder = run_folder(tmp_path, "x", name=method)
    with monkeypatch.context() as patch:  # by SIGKILL: tests/test_durability.py, as no method changes what that leaves
        crash_at(patch, random.randrange(2 * 2 * EVERY, 2 * STEPS))
        with contextlib.suppress(BaseException):
            cli("fit", *options, "run_id=x", *loader)
    assert not (folder / "result.json").exists()
    step = last(tmp_path, "x", name=method)["global_step"]
    assert step >= EVERY
    again = cli("fit", *options, "run_id=x", *loader)
    assert again.status == 0, again.err
    assert f"resumed at step {step}" in " ".join(again.out.split())
    result = json.loads((folder / "result.json").read_text())
    assert result["steps_run"] == STEPS - step
    assert same_weights(last(tmp_path, "whole", name=method), last(tmp_path, "x", name=method))

    def table(run_id: str) -> list[dict[str, str]]:
        with (run_folder(tmp_path, run_id, name=method) / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        clocks = ("samples_per_s", "data_share")
        return [{key: value for key, value in row.items() if key not in clocks} for row in rows]

    assert table("x") == table("whole")


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    options = ("-m", "restore.fit", *FAST, *KILLED, "run_id=x")
    running = fork_server.start(*options, cwd=tmp_path, before=HoldAt((2 * EVERY + 1,)))
    wait_until_held(running, run_folder(tmp_path, "x"))
    running.send_signal(signal.SIGINT)
    out = running.communicate(timeout=300)[0]
    assert running.returncode == 130, out
    assert "interrupted. Start the same command with run_id=x again" in out
    assert last(tmp_path, "x")["global_step"] == EVERY + 1


@pytest.mark.slow
def test_a_checkpoint_rebuilds_its_model_elsewhere_without_any_yaml(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *FAST, "run_id=a", "model.attention=self").status == 0
    file = run_folder(tmp_path, "a") / "checkpoints" / "best.ckpt"
    code = (
        "import sys, torch, restore\n"
        f"restorer = restore.load({str(file)!r})\n"
        "assert restorer.network.groups[0].kind == 'self'\n"
        "assert restorer.restore(torch.rand(3, 5, 7)).shape == (3, 10, 14)\n"
        "assert 'hydra' not in sys.modules and 'omegaconf' not in sys.modules\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_run_shorter_than_the_log_interval_logs_its_last_step(cli: Cli, tmp_path: Path) -> None:
    short = ("trainer.max_steps=3", "trainer.log_every_n_steps=10", "val_every_steps=3", "run_id=short")
    outcome = cli("fit", *TINY, *short)
    assert outcome.status == 0, outcome.err
    folder = run_folder(tmp_path, "short")
    with (folder / "metrics.csv").open() as file:
        logged = {int(row["step"]): row["train/loss"] for row in csv.DictReader(file) if row["train/loss"]}
    assert list(logged) == [3]
    assert float(logged[3]) > 0
