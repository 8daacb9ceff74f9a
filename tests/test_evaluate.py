import csv
import json
import math
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import TINY, Cli, photo

# PROTOCOLS: bicubic enlargement, PSNR-Y / SSIM-Y
GOLDEN = {
    ("Set5", 2): (33.673, 0.9303),
    ("Set5", 3): (30.403, 0.8689),
    ("Set5", 4): (28.429, 0.8111),
    ("Set5", 8): (24.397, 0.6581),
    ("Set14", 2): (30.230, 0.8691),
    ("Set14", 3): (27.537, 0.7745),
    ("Set14", 4): (25.994, 0.7029),
    ("Set14", 8): (23.089, 0.5639),
}


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_bicubic_gives_the_golden_table(cli: Cli, shared_data: Path, tmp_path: Path, scale: int) -> None:
    folders = ",".join(str(shared_data / "benchmarks" / name) for name in ("Set5", "Set14"))
    outcome = cli("evaluate", "ckpt_path=bicubic", f"benchmarks=[{folders}]", f"scale={scale}", "output=o")
    assert outcome.status == 0, outcome.err
    facts = json.loads((tmp_path / "o" / "results.json").read_text())
    assert facts["protocol"] == "sr_y"
    for name in ("Set5", "Set14"):
        psnr, ssim = GOLDEN[name, scale]
        means = facts["means"]["bicubic"][name]
        assert means["psnr_y"] == pytest.approx(psnr, abs=0.01)
        assert means["ssim_y"] == pytest.approx(ssim, abs=0.0005)
        assert f"{means['psnr_y']:.3f}" in outcome.out
    rows = list(csv.DictReader((tmp_path / "o" / "results.csv").open()))
    assert len(rows) == 19
    mean = sum(float(row["psnr_y"]) for row in rows if row["benchmark"] == "Set5") / 5
    assert mean == pytest.approx(facts["means"]["bicubic"]["Set5"]["psnr_y"], abs=1e-5)


def test_workers_change_no_byte(cli: Cli, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "benchmarks" / "Set5"
    for workers in (0, 1, 2):
        options = [f"benchmarks=[{folder}]", "scale=4", f"num_workers={workers}", f"output=w{workers}"]
        assert cli("evaluate", "ckpt_path=bicubic", *options).status == 0
    tables = {(tmp_path / f"w{workers}" / "results.csv").read_bytes() for workers in (0, 1, 2)}
    assert len(tables) == 1


def test_a_checkpoint_is_scored_beside_bicubic_and_its_pictures_kept(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *TINY, "run_id=a", "callbacks.panels=null").status == 0
    photo(tmp_path / "few" / "HR" / "one.png", 40, 44)
    Image.open(photo(tmp_path / "t.png", 30, 30)).convert("L").save(tmp_path / "few" / "HR" / "grey.png")
    checkpoint = "outputs/super_resolution/a/checkpoints/best.ckpt"
    options = [f"ckpt_path={checkpoint}", "benchmarks=[few]", "output=o", "save_images=true"]
    outcome = cli("evaluate", *options, "self_ensemble=true")
    assert outcome.status == 0, outcome.err
    assert "gain over bicubic" in outcome.out
    facts = json.loads((tmp_path / "o" / "results.json").read_text())
    assert set(facts["means"]) == {"super_resolution_a_best+ensemble", "bicubic"}
    assert len(facts["sha256"]) == len(facts["data"]["few"]) == 64
    for who in ("super_resolution_a_best+ensemble", "bicubic"):
        assert Image.open(tmp_path / "o" / "images" / who / "few" / "one.png").size == (44, 40)
    assert Image.open(tmp_path / "o" / "sheets" / "few" / "one.png").size == (3 * 3 * 44 + 2 * 4, 3 * 40)
    header, first, *_ = (tmp_path / "o" / "results.csv").read_text().splitlines()
    assert header == "benchmark,image,scale,protocol,psnr_y,ssim_y"
    assert first.startswith("few,grey,2,sr_y,")
    ensembled = (tmp_path / "o" / "results.csv").read_bytes()
    assert cli("evaluate", *options).status == 0
    assert (tmp_path / "o" / "results.csv").read_bytes() != ensembled
    assert (tmp_path / "o" / "seconds.csv").read_text().startswith("benchmark,image,seconds\n")
    assert cli("evaluate", *options, "protocol=sr_rgb").status == 0
    assert "psnr_rgb" in (tmp_path / "o" / "results.md").read_text()


def test_two_checkpoints_of_one_name_are_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *TINY, "run_id=a", "callbacks.panels=null").status == 0
    folder = tmp_path / "outputs" / "super_resolution" / "a" / "checkpoints"
    twin = f"baseline={folder}/../checkpoints/best.ckpt"
    outcome = cli("evaluate", f"ckpt_path={folder}/best.ckpt", twin)
    assert outcome.status == 1
    assert "baseline and ckpt_path are both called super_resolution_a_best" in outcome.err
    other = cli("evaluate", f"ckpt_path={folder}/best.ckpt", f"baseline={folder}/last.ckpt", "output=o")
    assert other.status == 0, other.err
    means = json.loads((tmp_path / "o" / "results.json").read_text())["means"]
    assert list(means) == ["super_resolution_a_best", "super_resolution_a_last"]


def test_two_pictures_of_one_name_are_refused(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "few" / "HR" / "1.png")
    photo(tmp_path / "few" / "HR" / "1.jpg")
    photo(tmp_path / "few" / "HR" / "1.k.png")
    outcome = cli("evaluate", "ckpt_path=bicubic", "scale=2", "benchmarks=few")
    assert outcome.status == 1
    assert "1.png: has the name of 1.jpg" in outcome.err


def test_identity_of_an_unchanged_picture_is_infinitely_good(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "few" / "one.png")
    outcome = cli("evaluate", "ckpt_path=identity", "benchmarks=[few]", "output=o", "baseline=null")
    assert outcome.status == 0, outcome.err
    assert math.isinf(json.loads((tmp_path / "o" / "results.json").read_text())["means"]["identity"]["few"]["psnr_y"])
    assert "inf" in outcome.out


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["ckpt_path=bicubic"], ["scale", "not given", "scale=2"]),
        (["ckpt_path=gone.ckpt"], ["gone.ckpt", "not a file"]),
        (["ckpt_path=bicubic", "scale=2", "benchmarks=[]"], ["benchmarks", "empty"]),
        (["ckpt_path=bicubic", "scale=2", "benchmarks=[gone]"], ["benchmarks", "gone", "not a folder"]),
        (["ckpt_path=bicubic", "scale=2", "benchmarks=3"], ["benchmarks", "3", "[data/Set5"]),
        (["ckpt_path=bicubic", "scale=2", "output=plain"], ["output", "plain", "a file"]),
        (["ckpt_path=bicubic", "scale=2", "protocol=psnr"], ["protocol=psnr", "sr_y, sr_rgb"]),
        (["ckpt_path=bicubic", "scale=2", "device=tpu"], ["device", "tpu", "auto, cpu"]),
        (["ckpt_path=bicubic", "scale=2", "tile=-3"], ["tile", "-3", "auto, none"]),
        (["ckpt_path=identity", "scale=2"], ["scale", "2", "identity"]),
        (["ckpt_path=bicubic", "scale=two"], ["scale", "two", "Float"]),
    ],
)
def test_bad_settings_are_named(cli: Cli, tmp_path: Path, overrides: list[str], parts: list[str]) -> None:
    (tmp_path / "plain").write_text("")
    outcome = cli("evaluate", *overrides)
    assert outcome.status == 1
    assert all(part in outcome.err for part in parts), outcome.err
    assert "Traceback" not in outcome.err
