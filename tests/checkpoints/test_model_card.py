"""Weights to give away: written, read, shipped, and what their cards claim."""

import csv
import json
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.translation.drawings import SIDE, draw
from restore.checkpoints import locate, model_card, reader
from restore.config.inference import Inference
from restore.inference.load import open_restorer
from restore.io.errors import SettingError
from restore.models import loading
from restore.models.super_resolution import SuperResolution
from tests.conftest import TINY, Cli

EMOJI = "translation_emoji"
SMALL = {"scale": 2, "groups": 1, "blocks": 1, "channels": 8}


def write(path: Path, **changes: Any) -> SuperResolution:
    torch.manual_seed(0)
    model = SuperResolution(**SMALL)  # type: ignore[arg-type]
    facts = {"format": 1, "method": "super_resolution", "arguments": SMALL, "weights": "ema"}
    model_card.write(path, facts | changes, model.network.state_dict())
    return model.eval()


def test_what_is_written_is_opened(tmp_path: Path) -> None:
    model = write(tmp_path / "given" / "mine.safetensors")
    lq = torch.rand(3, 7, 9)
    opened = open_restorer(str(tmp_path / "given" / "mine.safetensors"), inference=Inference(device="cpu"))
    with torch.inference_mode():
        assert torch.equal(opened.restore(lq), model.restore_whole(lq[None])[0])
    assert opened.name == "mine"
    assert sorted(file.name for file in (tmp_path / "given").iterdir()) == ["mine.json", "mine.safetensors"]


def test_weights_without_a_card_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "mine.safetensors")
    (tmp_path / "mine.json").unlink()
    with pytest.raises(model_card.NotOurs) as error:
        reader.read(tmp_path / "mine.safetensors")
    assert error.value.key == "ckpt_path"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.safetensors", b""),
        ("mine.safetensors", b"\xff" * 100),
        ("mine.json", b"{"),
        ("mine.json", b"[]"),
        ("mine.json", b"{}"),
        ("mine.json", b"\xff\xfe"),
        ("mine.json", b'{"format": 1, "method": "super_resolution", "arguments": {"scael": 2}}'),
        ("mine.json", b'{"format": 9, "method": "super_resolution", "arguments": {}}'),
        ("mine.json", b'{"format": 1, "method": "super_resolution", "arguments": {"channels": 16}}'),
    ],
)
def test_damaged_files_are_refused_by_name(name: str, content: bytes, tmp_path: Path) -> None:
    write(tmp_path / "mine.safetensors")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingError) as error:
        open_restorer(str(tmp_path / "mine.safetensors"))
    assert error.value.key == "ckpt_path"


def test_other_weights_than_the_ones_kept_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "mine.safetensors")
    with pytest.raises(SettingError) as error:
        open_restorer(str(tmp_path / "mine.safetensors"), inference=Inference(weights="raw"))
    assert (error.value.key, error.value.remedy) == ("weights", "set weights=ema")


def test_a_training_starts_from_given_weights_but_does_not_go_on_from_them(tmp_path: Path, cli: Cli) -> None:
    write(tmp_path / "mine.safetensors")
    refused = cli("fit", *TINY, "resume=mine.safetensors", *(f"model.{k}={v}" for k, v in SMALL.items()))
    assert refused.status == 1
    assert "use init_from=mine.safetensors" in " ".join(refused.err.split())
    started = cli("fit", *TINY, "init_from=mine.safetensors", "run_id=a")
    assert started.status == 0, started.err


# --- the shipped ones ---

SHIPPED = sorted(locate.shipped())


def test_shipped_weights_are_small() -> None:
    sizes = [path.stat().st_size for path in locate.shipped().values()]
    assert max(sizes) <= 8 * 10**6
    assert sum(sizes) <= 20 * 10**6


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_says_where_its_weights_come_from(name: str) -> None:
    facts = json.loads(locate.shipped()[name].with_suffix(".json").read_text())
    assert facts["method"] in loading.METHODS
    assert facts["sha256"] == reader.sha256(name)
    assert {"commit", "command", "steps", "seed", "starts", "last_start", "data"} <= set(facts["training"])
    assert all({"name", "terms", "attribution"} <= set(entry) for entry in facts["training"]["data"])
    assert facts["results"]


def evaluated(cli: Cli, name: str, folder: Path, output: str, ensemble: str = "false") -> dict[str, float]:
    """Means over one benchmark."""
    options = (f"ckpt_path={name}", f"benchmarks=[{folder}]", f"self_ensemble={ensemble}", f"output={output}")
    done = cli("evaluate", *options, "baseline=null", "device=cpu")
    assert done.status == 0, done.err
    (means,) = json.loads(Path(f"{output}/results.json").read_text())["means"].values()
    (scores,) = means.values()
    return dict(scores)


def near(scores: dict[str, float]) -> Any:
    """For each column, what a rounding and another machine's order of sums may change."""
    return {column: pytest.approx(value, abs=0.002 if "psnr" in column else 0.0001) for column, value in scores.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith(("super_resolution", "zero_shot"))])
def test_shipped_weights_reach_what_their_card_says(name: str, shared_data: Path, cli: Cli) -> None:
    facts = json.loads(locate.shipped()[name].with_suffix(".json").read_text())
    for k, result in enumerate(facts["results"]):
        if result["self_ensemble"] and name != "super_resolution_x4":
            continue  # eight times the work: once for all
        benchmark, scores = next(iter(result["means"].items()))  # one will do: Set5 takes seconds, Set14 a minute
        ensemble = str(result["self_ensemble"]).lower()
        assert evaluated(cli, name, shared_data / "benchmarks" / benchmark, f"out{k}", ensemble) == near(scores)


@pytest.mark.slow
def test_shipped_deblurring_reaches_on_one_frame_what_the_study_wrote_and_its_card_sums_up(
    shared_data: Path, cli: Cli
) -> None:
    """Each of the five frames takes ten seconds."""
    with (STUDIES / "deblur/frames.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["who"] == "deblur_narrow"]
    (result,) = json.loads(locate.shipped()["deblur_narrow"].with_suffix(".json").read_text())["results"]
    (card,) = result["means"].values()
    assert {column: fmean(float(row[column]) for row in rows) for column in card} == near(card)
    for given in (shared_data / "gopro" / "test").glob(f"*/*/{rows[0]['image']}.png"):
        copy = Path("gopro") / given.relative_to(shared_data / "gopro")
        copy.parent.mkdir(parents=True)
        shutil.copy(given, copy)
    found = evaluated(cli, "deblur_narrow", Path("gopro"), "out")
    assert found == near({column: float(rows[0][column]) for column in card})


STUDIES = Path(__file__).parents[2] / "experiments"


def test_the_card_of_the_emoji_weights_sums_up_what_the_study_wrote() -> None:
    """Its glyphs are of a font that no package of ours brings, so they are not scored again here."""
    with (STUDIES / "translation/emoji.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["who"] == EMOJI]
    (result,) = json.loads(locate.shipped()[EMOJI].with_suffix(".json").read_text())["results"]
    (card,) = result["means"].values()
    assert {column: fmean(float(row[column]) for row in rows) for column in card} == near(card)


def test_a_drawn_face_becomes_a_coloured_one_on_white(cli: Cli) -> None:
    draw("smile").save("smile.png")
    done = cli("predict", f"ckpt_path={EMOJI}", "input=smile.png", "output=emoji.png")
    assert done.status == 0, done.err
    with Image.open("emoji.png") as file:
        assert file.size == (SIDE, SIDE)
        pixels = np.asarray(file.convert("RGB")) / 255
    corner, cheek = pixels[:40, :40].mean((0, 1)), pixels[300:340, 110:150].mean((0, 1))
    assert corner.min() > 0.95
    assert cheek[0] - cheek[2] > 0.3  # skin of emoji is yellow


def test_the_emoji_weights_are_exported_by_name(cli: Cli) -> None:
    done = cli("export", f"ckpt_path={EMOJI}", "format=safetensors", "output=mine.safetensors")
    assert done.status == 0, done.err
    assert json.loads(Path("mine.json").read_text())["purpose"]
