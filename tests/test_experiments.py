"""The studies: their READMEs show what their CSV files say, and the index knows them all."""

import importlib
import json
import re
import runpy
import sys
from pathlib import Path

import matplotlib
import pytest
import torch

from experiments import release
from experiments.deblur import benchmark, classical, crisp_photos, levels
from experiments.deblur.richardson_lucy import line
from experiments.readme import filled
from experiments.super_resolution import degraded
from experiments.translation import drawings, emoji_pairs, emoji_scores
from restore.data.blur_sharp_folders import find_sequences
from restore.data.hr_lr_folders import find_pairs
from restore.image import reading
from restore.ops.resize import resize_8bit
from tests.conftest import photo

ROOT = Path(__file__).parent.parent / "experiments"
STUDIES = sorted(path.name for path in ROOT.iterdir() if (path / "README.md").exists())


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_shows_what_its_files_say(study: str) -> None:
    tables = importlib.import_module(f"experiments.{study}.tables").TABLES
    text = (ROOT / study / "README.md").read_text(encoding="utf-8")
    assert filled(text, {name: make() for name, make in tables.items()}) == text


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_names_its_commands_and_shows_an_image(study: str) -> None:
    text = (ROOT / study / "README.md").read_text(encoding="utf-8")
    assert re.search(r"restore[. ](fit|evaluate|predict) ", text)
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert pictures
    assert all((ROOT / study / picture).is_file() for picture in pictures)


def test_the_index_knows_every_study() -> None:
    index = (ROOT / "README.md").read_text(encoding="utf-8")
    assert STUDIES
    assert all(f"({study}/README.md)" in index for study in STUDIES)


def test_a_place_without_a_table_is_an_error() -> None:
    text = "a\n<!-- table: x -->\nold\n<!-- end -->\nb\n"
    assert filled(text, {"x": "new"}) == "a\n<!-- table: x -->\nnew\n<!-- end -->\nb\n"
    with pytest.raises(ValueError, match="marks"):
        filled(text, {"y": "new"})


@pytest.mark.parametrize("given", [[], ["--help"]])
def test_a_script_without_data_says_so_and_helps_all_the_same(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RESTORE_DATA", raising=False)
    script = "experiments.deblur.attention" if given else "experiments.deblur.richardson_lucy"
    monkeypatch.setattr(sys, "argv", [script, *given])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(script, run_name="__main__", alter_sys=True)
    said = f"{end.value.code} {capsys.readouterr().err}"  # a text as status is printed
    assert ("RESTORE_DATA is not set, expected" in said) is not bool(given)
    assert (end.value.code in (0, None)) is bool(given)


def test_the_motion_blur_benchmark_is_the_same_each_time_and_its_first_level_is_the_sharpest(tmp_path: Path) -> None:
    for k in range(2):
        photo(tmp_path / "photos" / f"{k}.png", 48, 64, seed=k)
    made = []
    for name in ("a", "b"):
        benchmark.make(tmp_path / name, str(tmp_path / "photos"), count=1, side=40)
        made.append({file.relative_to(tmp_path / name): file.read_bytes() for file in (tmp_path / name).rglob("*.png")})
    assert made[0] == made[1]
    assert {str(file) for file in made[0]} == {
        f"test/{level}/{kind}/0.png" for level in benchmark.LEVELS for kind in ("blur", "sharp")
    }
    pairs = find_sequences(tmp_path / "a" / "test", setting="benchmarks")
    assert [reading.read_rgb8(each).shape for each in pairs[0].files] == [(3, 40, 40)] * 2
    before = levels.inputs(tmp_path / "a")
    assert set(before) == {f"{level}/0" for level in benchmark.LEVELS}
    assert max(before, key=before.__getitem__) == "none/0"


def test_the_benchmark_of_degraded_photos_is_the_same_each_time_and_clean_is_the_shrink_alone(tmp_path: Path) -> None:
    for k in range(2):
        photo(tmp_path / "photos" / f"{k}.png", 49, 64, seed=k)
    made = []
    for name in ("a", "b"):
        degraded.make(tmp_path / name, {str(tmp_path / "photos"): 1}, 2)
        made.append({file.relative_to(tmp_path / name): file.read_bytes() for file in (tmp_path / name).rglob("*.png")})
    assert made[0] == made[1]
    harm = {}
    for kind in degraded.KINDS:
        (pair,) = find_pairs(str(tmp_path / "a" / kind), 2)
        gt, lq = (reading.read_rgb8(each) for each in pair.files)
        assert (gt.shape, lq.shape) == ((3, 48, 64), (3, 24, 32))
        harm[kind] = float((lq.float() - resize_8bit(gt, 0.5)).abs().mean())
    assert harm.pop("clean") == 0
    assert min(harm.values()) > 1


def test_the_table_by_kind_compares_with_the_first_restorer() -> None:
    def rows(*scores: float) -> list[dict[str, object]]:
        return [{"benchmark": "soft", "image": k, "psnr_y": each, "ssim_y": 0.9} for k, each in enumerate(scores)]

    lines = degraded.table(
        {"clean": rows(30.0, 32.0), "bicubic": rows(30.5, 30.5), "x2": rows(31.0, 31.5)}
    ).splitlines()
    assert lines[2] == "| soft | clean | 31.000 | 0.9000 | +0.000 | +0.000 | 50% |"
    assert lines[4] == "| soft | x2 | 31.250 | 0.9000 | +0.250 | -0.500 | 100% |"


def test_a_card_names_the_images_of_a_folder_and_refuses_those_of_unknown_terms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path / "all"))
    (tmp_path / "all/photos_cc").mkdir(parents=True)
    rows = "file,author,licence,source\nlake.png,Ada,CC-BY-4.0,a package\nheld_out.png,Ada,CC-BY-4.0,a package\n"
    (tmp_path / "all/photos_cc/ATTRIBUTION.csv").write_text(rows)
    for name in ("kodak24/kodim02.png", "kodak24/kodim02_2.png", "photos_cc/lake.png", "photos_cc/lake_4.png"):
        photo(tmp_path / name, 4, 4)
    (kodak,) = release.sources(str(tmp_path / "kodak24"))
    assert kodak["name"] == "kodak24 (kodim02)"
    assert [each["name"] for each in release.sources(str(tmp_path / "photos_cc"))] == ["lake.png"]
    photo(tmp_path / "photos_cc/mine.png", 4, 4)
    with pytest.raises(ValueError, match="mine"):
        release.sources(str(tmp_path / "photos_cc"))


def test_a_soft_photo_is_shrunk_until_its_pixels_are_sharp() -> None:
    noise = torch.rand(3, 300, 300, generator=torch.Generator().manual_seed(0))
    assert crisp_photos.sharpness(noise) == pytest.approx(1, abs=0.01)
    soft = torch.nn.functional.interpolate(noise[None], scale_factor=2, mode="bicubic")[0].clamp(0, 1)
    assert crisp_photos.sharpness(soft) < crisp_photos.SHARP
    (largest, first), (_, second) = crisp_photos.crisp(soft)
    assert 0.5 <= largest < 1
    assert crisp_photos.sharpness(first) >= crisp_photos.SHARP
    assert second.shape[1] * 2 == pytest.approx(first.shape[1], abs=2)
    ramp = torch.linspace(0, 1, 300).expand(3, 300, -1)
    assert crisp_photos.crisp(ramp) == []  # changes slowly at every size


def test_the_table_by_level_shows_the_least_gain_and_who_is_harmed() -> None:
    before = {"none/a": 40.0, "none/b": 42.0, "mild/a": 30.0}
    table = levels.table(before, {"x": {"none/a": 39.0, "none/b": 42.5, "mild/a": 31.0}}).splitlines()
    assert table[2] == "| none | x | 41.00 | 40.75 | -0.250 | -1.000 | 50% |"
    assert table[3] == "| mild | x | 30.00 | 31.00 | +1.000 | +1.000 | 0% |"


def test_wiener_takes_a_straight_blur_away_and_keeps_the_mean() -> None:
    gt = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), (32, 32), mode="bicubic").clamp(0, 1)
    kernel = torch.from_numpy(line(5, 0)).float().expand(3, 1, -1, -1)
    side = kernel.shape[-1] // 2
    blurred = torch.nn.functional.conv2d(torch.nn.functional.pad(gt, [side] * 4, "reflect"), kernel, groups=3)[0]
    restored = classical.wiener(blurred, 5, 0, 0.01)
    assert classical.psnr(restored, gt[0]) > classical.psnr(blurred, gt[0]) + 2
    flat = torch.full((3, 20, 30), 0.4)
    assert torch.allclose(classical.wiener(flat, 7, 45, 0.1), flat, atol=1e-4)


def numbers_of(facts: object) -> list[float]:
    """All numbers in nested JSON."""
    if isinstance(facts, dict | list):
        return [
            number for each in (facts.values() if isinstance(facts, dict) else facts) for number in numbers_of(each)
        ]
    return [float(facts)] if isinstance(facts, int | float) else []


@pytest.mark.parametrize("page", sorted((ROOT.parent / "docs" / "methods").glob("*.md")), ids=lambda page: page.stem)
def test_a_methods_page_shows_scores_that_its_study_or_its_weights_have(page: Path) -> None:
    study = (ROOT / page.stem / "README.md").read_text(encoding="utf-8")
    cards = [json.loads(card.read_text()) for card in (ROOT.parent / "restore" / "weights").glob(f"{page.stem}*.json")]
    measured = {f"{number:.{digits}f}".lstrip("0") for number in numbers_of(cards) for digits in (2, 3, 4)}
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    shown = [number.lstrip("0") for row in rows for number in re.findall(r"\d*\.\d{2,}", row)]
    assert shown
    assert [number for number in shown if number not in measured and number not in study] == []


def test_pairs_of_contours_and_glyphs_are_the_same_each_time_and_no_family_is_on_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(emoji_pairs, "CODE_POINTS", (range(0x2654, 0x265A),))  # chess
    monkeypatch.setattr(emoji_pairs, "FAMILIES", [[0x2654, 0x2655, 0x2656]])
    monkeypatch.setattr(emoji_pairs, "STRIKE", 90)
    font = str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf")
    made = []
    for name in ("a", "b"):
        given = [str(tmp_path / name), "--font", font, "--variants", "2", "--held-out", "0.5"]
        monkeypatch.setattr(sys, "argv", ["emoji_pairs", *given])
        emoji_pairs.main()
        made.append({file.relative_to(tmp_path / name): file.read_bytes() for file in (tmp_path / name).rglob("*.png")})
    assert made[0] == made[1]
    sides = {part: {file.name[:5] for file in (tmp_path / "a" / part / "B").iterdir()} for part in ("train", "test")}
    assert not sides["train"] & sides["test"]
    assert len(sides["train"]) == len(sides["test"]) == 3
    family = {f"{code:05x}" for code in (0x2654, 0x2655, 0x2656)}
    assert family in sides.values()
    train = tmp_path / "a/train"
    assert all(reading.read(file).pixels.shape[-2:] == (128, 128) for file in train.rglob("*.png"))
    assert len(list((train / "A").iterdir())) == len(list((train / "B").iterdir())) == 6
    for argv, word in (([str(tmp_path / "c"), "--font", "gone.ttf"], "gone.ttf"), ([str(tmp_path / "a")], "exists")):
        monkeypatch.setattr(sys, "argv", ["emoji_pairs", *argv, *([] if "--font" in argv else ["--font", font])])
        with pytest.raises(SystemExit) as end:
            emoji_pairs.main()
        assert word in str(end.value.code)


def test_regions_between_lines_are_told_apart_and_filled() -> None:
    lines = torch.ones(3, 8, 9)
    lines[:, 1, 1:6] = lines[:, 5, 1:6] = lines[:, 1:6, 1] = lines[:, 1:6, 5] = 0
    regions = emoji_scores.regions_of(lines)
    kinds = emoji_scores.kinds_of(regions)
    assert kinds[0, 0] == kinds[7, 8] == emoji_scores.OUTSIDE
    assert (kinds[2:5, 2:5] == emoji_scores.INSIDE).all()
    assert (kinds == emoji_scores.LINE).sum() == 16
    glyph = torch.zeros(3, 8, 9)
    glyph[0, 2:5, 2:5] = torch.arange(9).reshape(3, 3) / 8
    filled = emoji_scores.own_means(regions, glyph)
    assert torch.allclose(filled[0, 2:5, 2:5], torch.tensor(0.5))
    assert filled[0, 0].max() == filled[1:].max() == 0


def test_a_drawing_is_black_on_white_and_the_same_each_time() -> None:
    image = drawings.draw("smile")
    assert image.size == (512, 512)
    assert image.tobytes() == drawings.draw("smile").tobytes()
    assert image.getextrema() == (0, 255)
    assert image.getpixel((0, 0)) == 255
