import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY, TINY_DEBLUR, Cli, blurred_pair, photo

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


@pytest.mark.slow
def test_processes_change_no_byte(cli: Cli, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "benchmarks" / "Set5"
    for devices in (1, 2):
        options = [f"benchmarks=[{folder}]", "scale=4", f"devices={devices}", f"output=w{devices}"]
        outcome = cli("evaluate", "ckpt_path=bicubic", *options)
        assert outcome.status == 0, outcome.err
    assert (tmp_path / "w1" / "results.csv").read_bytes() == (tmp_path / "w2" / "results.csv").read_bytes()


def test_a_checkpoint_is_scored_beside_bicubic_and_its_images_kept(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *TINY, "run_id=a", "callbacks.panels=null").status == 0
    photo(tmp_path / "few" / "HR" / "one.png", 40, 44)
    Image.open(photo(tmp_path / "t.png", 30, 30)).convert("L").save(tmp_path / "few" / "HR" / "grey.png")
    checkpoint = "outputs/super_resolution/a/checkpoints/best.ckpt"
    options = [f"ckpt_path={checkpoint}", "benchmarks=[few]", "output=o", "save_images=true"]
    outcome = cli("evaluate", *options, "self_ensemble=true")
    assert outcome.status == 0, outcome.err
    assert "gain over bicubic" in outcome.out
    assert (tmp_path / "o" / "results.md").read_text() in outcome.out  # into a pipe, whose width is nobody's
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
    assert "a name other than super_resolution_a_best" in outcome.err
    other = cli("evaluate", f"ckpt_path={folder}/best.ckpt", f"baseline={folder}/last.ckpt", "output=o")
    assert other.status == 0, other.err
    means = json.loads((tmp_path / "o" / "results.json").read_text())["means"]
    assert list(means) == ["super_resolution_a_best", "super_resolution_a_last"]


def test_one_process_opens_each_restorer_once(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from restore.evaluation import score_sets
    from restore.inference import load

    opened, original = [], load.open_restorer

    def counted(ckpt_path: str, **settings: Any) -> Any:
        opened.append(ckpt_path)
        return original(ckpt_path, **settings)

    for module in (load, score_sets):
        monkeypatch.setattr(module, "open_restorer", counted)
    for name in ("a", "b"):
        photo(tmp_path / "few" / f"{name}.png", 40, 44)
    outcome = cli("evaluate", "ckpt_path=super_resolution_x2", "benchmarks=few")
    assert outcome.status == 0, outcome.err
    assert opened == ["super_resolution_x2", "bicubic"]


def test_two_images_of_one_name_are_refused(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "few" / "HR" / "1.png")
    photo(tmp_path / "few" / "HR" / "1.jpg")
    photo(tmp_path / "few" / "HR" / "1.k.png")
    outcome = cli("evaluate", "ckpt_path=bicubic", "scale=2", "benchmarks=few")
    assert outcome.status == 1
    assert "1.png: has the name of 1.jpg" in outcome.err


def test_deblurring_is_scored_per_sequence_and_in_all_beside_the_blurred_input(cli: Cli, tmp_path: Path) -> None:
    for sequence, frames in (("one", 2), ("two", 1)):
        for k in range(frames):
            blurred_pair(tmp_path / "set" / "test" / sequence, f"{k}", height=33, seed=10 * k + frames)
    trained = [*TINY_DEBLUR, "data.root=set/test", "data.validation=1", "data.degradations=[]", "run_id=a"]
    assert cli("fit", *trained, "callbacks.panels=null").status == 0
    options = ["ckpt_path=outputs/deblur/a/checkpoints/best.ckpt", "output=o", "save_images=true"]
    outcome = cli("evaluate", *options, "benchmarks=[set]")
    assert outcome.status == 0, outcome.err
    facts = json.loads((tmp_path / "o" / "results.json").read_text())
    assert facts["protocol"] == "deblur_rgb"
    assert list(facts["means"]) == ["deblur_a_best", "identity"]
    means = facts["means"]["identity"]
    assert list(means) == ["set_test", "set_test/one", "set_test/two"]
    both = 2 * means["set_test/one"]["psnr_rgb"] + means["set_test/two"]["psnr_rgb"]
    assert means["set_test"]["psnr_rgb"] == pytest.approx(both / 3)
    header, first, *rest = (tmp_path / "o" / "results.csv").read_text().splitlines()
    assert header == "benchmark,image,scale,protocol,psnr_rgb,ssim_rgb"
    assert first.startswith("set_test,one/0,1,deblur_rgb,")
    assert len(rest) == 2
    assert Image.open(tmp_path / "o" / "sheets" / "set_test" / "one" / "0.png").size[1] == 3 * 33
    outcome = cli("evaluate", *options, "benchmarks=[set/test]", "protocol=deblur_matlab3d", "baseline=null")
    assert outcome.status == 0, outcome.err
    assert "ssim_matlab3d" in (tmp_path / "o" / "results.md").read_text()


def test_identity_gives_the_score_of_the_blurred_frames_at_hand(cli: Cli, shared_data: Path, tmp_path: Path) -> None:
    folder, scores = shared_data / "gopro" / "test" / "GOPR0372_07_00", []
    for frame in ("000120.png", "000128.png"):
        levels = []
        for part in ("blur", "sharp"):
            target = tmp_path / "gopro" / "test" / folder.name / part / frame
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(folder / part / frame)
            levels.append(np.asarray(Image.open(target)).astype(float))
        scores.append(10 * math.log10(255**2 / ((levels[0] - levels[1]) ** 2).mean()))
    outcome = cli("evaluate", "ckpt_path=identity", "benchmarks=[gopro/test]", "output=o")
    assert outcome.status == 0, outcome.err
    means = json.loads((tmp_path / "o" / "results.json").read_text())["means"]
    assert list(means) == ["identity"]
    assert means["identity"]["gopro_test"]["psnr_rgb"] == pytest.approx(sum(scores) / 2)
    rows = list(csv.DictReader((tmp_path / "o" / "results.csv").open()))
    assert [float(row["psnr_rgb"]) for row in rows] == pytest.approx(scores, abs=1e-5)


def test_identity_of_an_unchanged_image_is_infinitely_good_and_its_json_is_valid(cli: Cli, tmp_path: Path) -> None:
    for part in ("blur", "sharp"):
        photo(tmp_path / "few" / part / "one.png")
    outcome = cli("evaluate", "ckpt_path=identity", "benchmarks=[few]", "output=o", "baseline=null")
    assert outcome.status == 0, outcome.err
    text = (tmp_path / "o" / "results.json").read_text()
    facts = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert facts["means"]["identity"]["few"]["psnr_rgb"] == "inf"
    assert "inf" in outcome.out
    assert "few: 1 of 1 blurred images are as sharp" in " ".join(outcome.out.split())


def test_the_bad_files_of_all_benchmarks_are_named_at_once(cli: Cli, tmp_path: Path) -> None:
    for name in ("one", "two"):
        blurred_pair(tmp_path / name, "a")
        (tmp_path / name / "blur" / "a.png").unlink()
    photo(tmp_path / "flat" / "a.png")
    outcome = cli("evaluate", "ckpt_path=identity", "benchmarks=[one,flat,two]")
    assert outcome.status == 1
    assert "benchmarks: 3 problems" in outcome.err
    assert all(word in outcome.err for word in ("one/sharp/a.png", "two/sharp/a.png", "flat holds no pairs"))
    assert "synthetic_blur" not in outcome.err  # a setting of fit


def facades(root: Path, count: int) -> Path:
    """Side by side, photo left and its smeared labels right."""
    palette = np.array([(0, 0, 222), (0, 48, 255), (255, 80, 0)], dtype=np.uint8)
    for k in range(count):
        pixels = np.asarray(Image.open(photo(root / "x.png", 40, 48, seed=k)))
        labels = palette[np.random.default_rng(k).integers(0, 3, (5, 6))].repeat(8, 0).repeat(8, 1)
        Image.fromarray(np.concatenate([pixels, labels], 1)).save(root / f"{k}.jpg", quality=90)
    (root / "x.png").unlink()
    return root


def test_translation_is_scored_as_its_data_is_read_and_says_what_is_not_available(cli: Cli, tmp_path: Path) -> None:
    trained = [
        "model=deblur_tiny",
        "data=contours",
        "trainer=smoke",
        "callbacks.progress=null",
        "callbacks.panels=null",
    ]
    sizes = ["data.load_size=36", "data.patch_size=32"]
    assert cli("fit", *trained, *sizes, "data.val_limit=1", "run_id=a").status == 0
    options = ["ckpt_path=outputs/deblur/a/checkpoints/best.ckpt", "protocol=translation_rgb", "data=contours", *sizes]
    outcome = cli("evaluate", *options, "output=o", "save_images=true")
    assert outcome.status == 0, outcome.err
    facts = json.loads((tmp_path / "o" / "results.json").read_text())
    scores = facts["means"]["deblur_a_best"]["photos_held_out"]
    assert list(facts["means"]) == ["deblur_a_best"]  # the input is another kind of image, and no baseline
    assert list(scores) == ["l1", "psnr_rgb", "ssim_rgb", "lpips_alex", "fid", "kid"]
    assert 0 < scores["l1"] < 1
    assert (scores["lpips_alex"], scores["fid"], scores["kid"]) == (None, None, None)
    assert facts["not_available"]["kid"] == "inception_weights is not set"
    table = (tmp_path / "o" / "results.md").read_text()
    assert table.count("not available") == 3
    header, first, *_ = (tmp_path / "o" / "results.csv").read_text().splitlines()
    assert header == "benchmark,image,scale,protocol,l1,psnr_rgb,ssim_rgb"
    assert first.startswith("photos_held_out,chelsea,1,translation_rgb,")
    restored = Image.open(tmp_path / "o" / "images" / "deblur_a_best" / "photos_held_out" / "chelsea.png")
    assert min(restored.size) == 32
    assert (tmp_path / "o" / "sheets" / "photos_held_out" / "chelsea.png").exists()


def test_inputs_made_otherwise_than_in_the_training_of_shipped_weights_are_warned_of(cli: Cli, tmp_path: Path) -> None:
    options = ["ckpt_path=translation_emoji", "device=cpu", "data.load_size=36", "data.patch_size=32"]
    outcome = cli("evaluate", *options, "data=contours", "output=o")
    assert outcome.status == 0, outcome.err
    said = " ".join(outcome.out.split())
    assert "other inputs than those of data=translation_folder, with which translation_emoji was trained" in said
    photo(tmp_path / "few" / "A" / "a.png", 40, 40)
    photo(tmp_path / "few" / "B" / "a.png", 40, 40)
    outcome = cli("evaluate", *options, "benchmarks=[few]", "output=p")
    assert outcome.status == 0, outcome.err
    assert "was trained" not in outcome.out


def test_a_translation_benchmark_is_found_by_its_protocol_in_the_right_direction(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    facades(tmp_path / "few", 2)
    l1 = {}
    for direction in ("a_to_b", "b_to_a"):
        options = ["benchmarks=[few]", f"data.direction={direction}", f"output={direction}", "save_images=true"]
        outcome = cli("evaluate", "ckpt_path=identity", "protocol=translation_rgb", *options)
        assert outcome.status == 0, outcome.err
        l1[direction] = json.loads((tmp_path / direction / "results.json").read_text())["means"]["identity"]["few"][
            "l1"
        ]
    assert l1["a_to_b"] == l1["b_to_a"]  # the distance of the two halves
    with Image.open(tmp_path / "few" / "0.jpg") as whole:
        right = np.asarray(whole)[:, 48:]
    pred = np.asarray(Image.open(tmp_path / "b_to_a" / "images" / "identity" / "few" / "0.png"))
    assert np.array_equal(pred, right)


def test_lpips_of_an_evaluation_comes_from_the_images_it_keeps(cli: Cli, tmp_path: Path) -> None:
    import torch
    import torchvision

    torch.save(torchvision.models.alexnet(weights=None).state_dict(), tmp_path / "alexnet.pth")
    (tmp_path / "few").mkdir()
    facades(tmp_path / "few", 2)
    options = ["ckpt_path=identity", "protocol=translation_rgb", "benchmarks=[few]", "output=o"]
    outcome = cli("evaluate", *options, "lpips_weights=alexnet.pth")
    assert outcome.status == 0, outcome.err
    scores = json.loads((tmp_path / "o" / "results.json").read_text())["means"]["identity"]["few"]
    assert scores["lpips_alex"] > 0
    assert (scores["fid"], scores["kid"]) == (None, None)
    assert f"{scores['lpips_alex']:.4f}" in (tmp_path / "o" / "results.md").read_text()
    assert (tmp_path / "o" / "images" / "identity" / "few" / "0.png").exists()
    assert not (tmp_path / "o" / "sheets").exists()
    outcome = cli("evaluate", *options[:-1], "output=o2", "lpips_weights=gone.pth")
    assert "lpips_weights: gone.pth is not a file" in outcome.err


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["ckpt_path=bicubic"], ["scale", "not given", "scale=2"]),
        (["ckpt_path=gone.ckpt"], ["gone.ckpt", "not a file"]),
        (["scale=2"], ["ckpt_path is not set"]),
        (["ckpt_path=bicubic", "scale=nan"], ["scale is nan", "finite"]),
        (["ckpt_path=bicubic", "scale=2", "baseline=gone"], ["baseline: gone is not a file"]),
        (["ckpt_path=bicubic", "scale=2", "baseline=super_resolution_x4"], ["baseline is super_resolution_x4", "2"]),
        (["ckpt_path=bicubic", "scale=2", "benchmarks=[]"], ["benchmarks", "empty"]),
        (["ckpt_path=bicubic", "scale=2", "benchmarks=[gone]"], ["benchmarks is gone", "expected a folder"]),
        (["ckpt_path=bicubic", "scale=2", "benchmarks=3"], ["benchmarks is 3", "a folder"]),
        (["ckpt_path=bicubic", "scale=2", "output=plain"], ["output", "plain", "a file"]),
        (["ckpt_path=bicubic", "scale=2", "protocol=psnr"], ["protocol is psnr", "sr_y, sr_rgb"]),
        (["ckpt_path=bicubic", "scale=2", "device=tpu"], ["device", "tpu", "auto, cpu"]),
        (["ckpt_path=bicubic", "scale=2", "tile=-3"], ["tile", "-3", "auto, none"]),
        (["ckpt_path=identity", "scale=2"], ["scale", "2", "identity"]),
        (["ckpt_path=identity"], ["benchmarks", "photos_held_out", "blurred and sharp"]),
        (["ckpt_path=identity", "protocol=sr_y"], ["protocol=sr_y", "scale is 1", "protocol=deblur_rgb"]),
        (["ckpt_path=bicubic", "scale=2", "output=plain/x"], ["output is plain/x", "Not a directory"]),
        (["ckpt_path=bicubic", "scale=2", "protocol=deblur_rgb"], ["protocol", "scale is 2", "expected 1"]),
        (["ckpt_path=bicubic", "scale=two"], ["scale", "two", "Float"]),
        (["ckpt_path=bicubic", "scale=2", "protocol=translation_rgb"], ["protocol", "scale is 2", "expected 1"]),
        (["ckpt_path=bicubic", "scale=2", "lpips_weights=a.pth"], ["lpips_weights", "protocol=sr_y", "leave it out"]),
        (
            ["ckpt_path=identity", "protocol=translation_rgb"],
            ["benchmarks is photos_held_out (the default)", "A and B"],
        ),
        (["ckpt_path=bicubic", "scale=2", "data.root=few"], ["data.root is few", "set benchmarks=[few]"]),
        (["ckpt_path=identity", "data.validation=2"], ["data.validation is 2", "leave it out"]),
        (["ckpt_path=identity", "data.benchmarks=[few]"], ["data.benchmarks", "set benchmarks=[few]"]),
        (["ckpt_path=identity", "data.val_limit=2"], ["data.val_limit is 2", "leave it out"]),
        (["ckpt_path=identity", "protocol=translation_rgb", "benchmarks=[gone]"], ["benchmarks is gone"]),
        (["ckpt_path=identity", "protocol=translation_rgb", "data=gopro"], ["data=translation_folder"]),
        (
            ["ckpt_path=identity", "protocol=translation_rgb", "data.direction=left"],
            ["data.direction is 'left'", "'a_to_b' or 'b_to_a'"],
        ),
    ],
)
def test_bad_settings_are_named(cli: Cli, tmp_path: Path, overrides: list[str], parts: list[str]) -> None:
    (tmp_path / "plain").write_text("")
    outcome = cli("evaluate", *overrides)
    assert outcome.status == 1
    assert all(part in outcome.err for part in parts), outcome.err
    assert "Traceback" not in outcome.err


def test_earlier_results_of_something_else_are_replaced_with_a_word(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "few" / "HR" / "one.png", 40, 44)
    options = ["benchmarks=[few]", "output=o", "scale=2", "baseline=null"]
    said = []
    for protocol in ("sr_y", "sr_y", "sr_rgb"):
        outcome = cli("evaluate", "ckpt_path=bicubic", *options, f"protocol={protocol}")
        assert outcome.status == 0, outcome.err
        said.append(" ".join(outcome.out.split()))
    assert ["will be replaced" in each for each in said] == [False, False, True]
    assert "o: results of bicubic by sr_y will be replaced" in said[2]
    (tmp_path / "o" / "results.json").write_text("{")
    outcome = cli("evaluate", "ckpt_path=bicubic", *options)
    assert outcome.status == 0
    assert "o: results that are damaged will be replaced" in " ".join(outcome.out.split())
