"""Whole runs of ``model=translation``: the run folder, the plan, stages across interruptions."""

import contextlib
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from restore.checkpoints import reader
from restore.models import loading
from restore.models.translation.model import Translation
from tests.conftest import TINY_TRANSLATION, Cli, photo
from tests.test_fit import crash_at, last, run_folder

DATA = ("data.root=photos", "data.validation=1", "data.load_size=null")
QUICK = (*TINY_TRANSLATION, *DATA, "callbacks.panels=null", "val_every_steps=100")
NAME = "translation"


@pytest.fixture(autouse=True)
def photos(tmp_path: Path) -> None:
    for k in range(3):
        photo(tmp_path / "photos" / f"{k}.png", seed=k)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_six_steps_are_six_updates_of_the_generator_and_the_axis_shows_them(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("fit", *QUICK, "trainer.max_steps=6", "run_id=a")
    assert outcome.status == 0, outcome.err
    stored = last(tmp_path, "a", name=NAME)
    assert stored["global_step"] == 6
    assert {float(state["step"]) for state in stored["optimizer_states"][0]["state"].values()} == {2.0}  # joint stage
    folder = run_folder(tmp_path, "a", NAME)
    assert [int(row["step"]) for row in rows(folder)] == [1, 2, 3, 4, 5, 6]
    trained = [{key for key in row if row[key] and key.startswith("train/l1")} for row in rows(folder)]
    high, low = ({f"train/l1_level{r}{end}" for end in ("", "_weighted")} for r in (0, 1))
    assert trained == [low] * 2 + [high] * 2 + [high | low] * 2


def test_a_stage_without_a_step_is_refused_before_anything_is_made(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: Any) -> None:
        pytest.fail("the training began")

    monkeypatch.setattr("restore.training.train.train", started)
    outcome = cli("fit", *QUICK, "trainer.max_steps=2", "run_id=a")
    assert outcome.status == 1
    assert "trainer.max_steps is 2, expected at least one step for stage" in outcome.err
    assert not run_folder(tmp_path, "a", NAME).exists()


def test_the_run_folder_holds_plan_sheets_panels_and_what_was_used(cli: Cli, tmp_path: Path) -> None:
    options = [*TINY_TRANSLATION, *DATA, "val_every_steps=4", "trainer.max_steps=6", "run_id=a"]
    outcome = cli("fit", *options)
    assert outcome.status == 0, outcome.err
    folder = run_folder(tmp_path, "a", NAME)
    plan = (folder / "plan.md").read_text()
    assert [line.split("|")[2].strip() for line in plan.splitlines()[2:5]] == ["level 1", "level 0", "joint"]
    assert "level 1" in outcome.out
    sheets = sorted(path.name for path in (folder / "stages").iterdir())
    assert sheets == ["stage_1_level_1.png", "stage_2_level_0.png", "stage_3_joint.png"]
    with Image.open(folder / "stages" / sheets[0]) as sheet:
        assert sheet.size == (4 * 50, 40)  # input, two outputs, reference of the one validation image
        assert len(sheet.crop((100, 0, 150, 40)).getcolors() or []) == 1  # not trained yet
    panels = sorted(path.name for path in (folder / "panels").iterdir())
    assert panels == ["2_0000004.png", "2_0000006.png"]
    with Image.open(folder / "panels" / panels[0]) as panel:
        assert panel.size == (4 * 50, 40)
    result = json.loads((folder / "result.json").read_text())
    assert (result["monitor"], result["kept"], result["protocol"]) == ("last/l1", "last", "translation_rgb")
    values = [float(row["val/photos_held_out/l1"]) for row in rows(folder) if row["val/photos_held_out/l1"]]
    assert len(values) == 2
    assert result["value"] == pytest.approx(values[-1])
    assert result["metrics"]["test/photos_held_out/l1"] == pytest.approx(values[-1])
    assert result["training"]["style_features"] == "random weights, seed 0"
    assert set(result["training"]["style_weights"]) == {"stage 1/1", "stage 2/0", "stage 3/0", "stage 3/1"}
    before = json.dumps(result["training"])
    (folder / "result.json").unlink()
    assert cli("fit", *options).status == 0
    assert json.dumps(json.loads((folder / "result.json").read_text())["training"]) == before


@pytest.fixture
def rising_l1(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longer trained, the worse."""
    monkeypatch.setattr(Translation, "_means", lambda self: {"photos_held_out/l1": 0.01 * self.global_step})


def test_with_an_adversarial_loss_the_last_weights_are_kept(cli: Cli, tmp_path: Path, rising_l1: None) -> None:
    options = [*QUICK, "val_every_steps=2", "trainer.max_steps=6"]
    assert cli("fit", *options, "run_id=a").status == 0
    folder = run_folder(tmp_path, "a", NAME)
    assert [float(row["last/l1"]) for row in rows(folder) if row["last/l1"]] == pytest.approx([0.02, 0.04, 0.06])
    kept, newest = (reader.read(folder / "checkpoints" / name) for name in ("best.ckpt", "last.ckpt"))
    assert kept["global_step"] == 6
    same = [torch.equal(value, newest["ema"][key]) for key, value in kept["ema"].items()]
    assert all(same)
    result = json.loads((folder / "result.json").read_text())
    assert (result["kept"], result["monitor"], result["value"]) == ("last", "last/l1", pytest.approx(0.06))
    assert "<td>last, in checkpoints/best.ckpt</td>" in (folder / "report.html").read_text()


def test_an_earlier_stages_score_does_not_remain_the_best(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rising_l1: None
) -> None:
    options = [*QUICK, "val_every_steps=1", "trainer.max_steps=6", "checkpoint.every_steps=1", "checkpoint.keep=best"]
    assert cli("fit", *options, "run_id=a").status == 0
    folder = run_folder(tmp_path, "a", NAME)
    best = [float(row["best/l1"]) for row in rows(folder)]
    assert best == pytest.approx([0.01, 0.01, 0.03, 0.03, 0.05, 0.05])  # steps 3 and 4 are level 0's, 5 and 6 joint
    stored = reader.read(folder / "checkpoints" / "best.ckpt")
    assert stored["global_step"] == 5
    assert int(stored["state_dict"]["network.top"]) == 0
    with monkeypatch.context() as patch:  # killed at the border
        crash_at(patch, 2)
        with contextlib.suppress(BaseException):
            cli("fit", *options, "run_id=x")
    assert cli("fit", *options, "run_id=x").status == 0
    assert [float(row["best/l1"]) for row in rows(run_folder(tmp_path, "x", NAME))] == best


def test_predict_restores_whole_images_and_refuses_tiles(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *QUICK, "trainer.max_steps=3", "run_id=a").status == 0
    ckpt = run_folder(tmp_path, "a", NAME) / "checkpoints" / "best.ckpt"
    outcome = cli("predict", f"ckpt_path={ckpt}", "input=photos/0.png", "output=out.png")
    assert outcome.status == 0, outcome.err
    with Image.open(tmp_path / "out.png") as file:
        assert file.size == (50, 40)
    refused = cli("predict", f"ckpt_path={ckpt}", "input=photos/0.png", "output=other.png", "tile=32")
    assert refused.status == 1
    assert "tile is 32, expected auto or none: translation_a_best restores an image as a whole" in refused.err


COLOURS = [[0, 0, 255], [255, 80, 0], [0, 255, 0], [20, 20, 20]]


def label_pairs(root: Path, count: int) -> None:
    """Photos in A, colour-coded maps of 8-pixel blocks in B, the same maps as indices in C."""
    for part in ("train", "test"):
        for k in range(count):
            classes = (
                np.random.default_rng(k).integers(0, len(COLOURS), (5, 6), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            )
            photo(root / part / "A" / f"{k}.png", 40, 48, seed=k + count * (part == "test"))
            for folder, pixels in {"B": np.array(COLOURS, np.uint8)[classes], "C": classes}.items():
                (root / part / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / part / folder / f"{k}.png")


@pytest.mark.parametrize("one_hot", [False, True])
def test_predict_and_evaluate_read_label_maps_as_the_training_did(cli: Cli, tmp_path: Path, one_hot: bool) -> None:
    label_pairs(tmp_path / "maps", 3)
    layout = ["data=translation_folder", "data.root=maps", "data.folder_a=B", "data.folder_b=A"]
    colours = str(COLOURS).replace(" ", "")
    options = [*QUICK, *layout, "data.patch_size=32", "model.input_kind=labels", f"data.palette={colours}"]
    channels = [f"data.one_hot={one_hot}", f"model.in_channels={len(COLOURS) if one_hot else 3}"]
    assert cli("fit", *options, *channels, "trainer.max_steps=3", "run_id=a").status == 0
    ckpt = f"ckpt_path={run_folder(tmp_path, 'a', NAME) / 'checkpoints/best.ckpt'}"

    for folder in "BC":  # colours and indices are the same classes
        outcome = cli("predict", ckpt, f"input=maps/test/{folder}/0.png", f"output={folder}.png")
        assert outcome.status == 0, outcome.err
    restored = np.asarray(Image.open(tmp_path / "B.png"))
    assert restored.shape == (40, 48, 3)
    assert np.array_equal(restored, np.asarray(Image.open(tmp_path / "C.png")))
    refused = cli("predict", ckpt, "input=maps/test/A/0.png", "output=none.png")
    assert refused.status == 1
    assert "from every colour of data.palette" in refused.err
    assert not (tmp_path / "none.png").exists()

    score = ["evaluate", ckpt, "benchmarks=[maps]", *layout[2:], "output=scores", "save_images=true"]
    scored = cli(*score)
    assert scored.status == 0, scored.err
    (kept,) = (tmp_path / "scores/images").glob("*/*/0.png")
    assert np.array_equal(np.asarray(Image.open(kept)), restored)
    other = cli(*score, "data.palette=[[0,0,0],[255,255,255]]")
    assert other.status == 1
    assert "data.palette is [[0, 0, 0], [255, 255, 255]], expected" in other.err


def test_a_photo_made_of_grey_contours_has_colours(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *QUICK, "trainer.max_steps=3", "run_id=a").status == 0
    contours = (np.random.default_rng(0).random((40, 50)) > 0.9).astype(np.uint8) * 255
    Image.fromarray(contours).save(tmp_path / "contours.png")
    ckpt = run_folder(tmp_path, "a", NAME) / "checkpoints" / "best.ckpt"
    assert cli("predict", f"ckpt_path={ckpt}", "input=contours.png", "output=out.png").status == 0
    assert np.asarray(Image.open(tmp_path / "out.png")).shape == (40, 50, 3)


def test_without_weights_for_the_style_loss_the_run_stops_with_the_remedies(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    outcome = cli("fit", *QUICK, "model.style_features=vgg19", "run_id=a")
    assert outcome.status == 1
    assert "model.style_features=download" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["trainer.max_steps=2"], "trainer.max_steps is 2"),
        (["model.levels=3", "data.patch_size=16"], "data.patch_size is 16, expected at least 32"),
        (["data.patch_size=20"], "expected a multiple of 8"),
        (["model.stages=[{level: 0, share: 1}]"], "model.stages is"),
        (["model.adversarial=wgan"], "model.adversarial"),
        (["model.levels=zwei"], "model.levels"),
    ],
)
def test_what_does_not_fit_ends_in_a_sentence(cli: Cli, options: list[str], words: str) -> None:
    outcome = cli("fit", *QUICK, *options)
    assert outcome.status == 1
    assert words in outcome.err
    assert "Traceback" not in outcome.err


# --- interruptions ---


def everything_in(state: dict[str, Any]) -> dict[str, Any]:
    kept = ("state_dict", "ema", "optimizer_states", "translation", "restore", "global_step")
    return {key: state[key] for key in kept}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "every", "starts"),
    [
        # after every step about the changes of stage: the last of one and the first of the next
        ([], 1, [2, 1, 1, 2, 1, 1]),
        (
            [
                *("trainer.accumulate_grad_batches=2", "model.augment=[color,translation,cutout]"),
                *("model.spectral_norm=true", "model.adversarial=non_saturating"),
            ],
            2,
            [7, 5, 5],
        ),
        (["model.stages=[]", "model.feature_matching_weight=10"], 2, [3]),
    ],
)
def test_killed_at_any_step_a_run_ends_bit_identical(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: list[str], every: int, starts: list[int]
) -> None:
    options = [*QUICK, *settings, "trainer.max_steps=9", f"checkpoint.every_steps={every}"]
    assert cli("fit", *options, "run_id=whole").status == 0
    for batch in starts:
        with monkeypatch.context() as patch:
            crash_at(patch, batch)
            with contextlib.suppress(BaseException):
                cli("fit", *options, "run_id=x")
        assert not (run_folder(tmp_path, "x", NAME) / "result.json").exists()
    outcome = cli("fit", *options, "run_id=x")
    assert outcome.status == 0, outcome.err
    whole, killed = (everything_in(last(tmp_path, run_id, name=NAME)) for run_id in ("whole", "x"))
    assert all(same(whole[key], killed[key]) for key in whole), [k for k in whole if not same(whole[k], killed[k])]
    clocks = ("samples_per_s", "data_share")
    tables = (
        [{key: value for key, value in row.items() if key not in clocks} for row in rows(run_folder(tmp_path, r, NAME))]
        for r in ("whole", "x")
    )
    assert next(tables) == next(tables)


def test_a_longer_run_may_start_from_a_finished_one_and_other_discriminators_are_refused(
    cli: Cli, tmp_path: Path
) -> None:
    assert cli("fit", *QUICK, "trainer.max_steps=3", "run_id=a").status == 0
    source = run_folder(tmp_path, "a", NAME) / "checkpoints" / "last.ckpt"
    longer = cli("fit", *QUICK, "trainer.max_steps=6", "run_id=b", f"resume={source}", "model.stages=[]")
    assert longer.status == 0, longer.err
    other = cli("fit", *QUICK, "trainer.max_steps=6", "run_id=c", f"resume={source}", "model.adversarial_weight=0")
    assert other.status == 1
    assert "resume is a checkpoint with other discriminators" in other.err
    started = cli("fit", *QUICK, "trainer.max_steps=3", "run_id=d", f"init_from={source}", "model.adversarial_weight=0")
    assert started.status == 0, started.err
    assert loading.load_model(source).method == NAME
