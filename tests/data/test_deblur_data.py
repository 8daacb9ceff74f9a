from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from restore.config.build import build
from restore.config.command import conf_dir
from restore.data import blur_sharp_folders
from restore.data.datasets import TrainingCrops
from restore.data.deblur import DeblurData
from restore.data.file_checks import check_pairs, sharpness
from restore.data.pair import DataProblem
from restore.degradations.motion_blur import MotionBlur
from restore.image.reading import read_rgb8
from restore.io.errors import SettingError
from tests.conftest import blurred_pair, gopro, photo


def data(folder: Path, **settings: Any) -> DeblurData:
    arguments: dict[str, Any] = {"root": str(folder), "patch_size": 16} | settings
    return DeblurData(**arguments)


# --- layouts ---


def test_input_and_target_folders_are_understood_and_count_as_one_sequence(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for k in range(3):
            blurred_pair(tmp_path / "d" / part, f"{k}", seed=10 * k + len(part), folders=("input", "target"))
    both = data(tmp_path / "d", validation=str(tmp_path / "d"))
    assert [pair.name for pair in both.train_pairs] == ["0", "1", "2"]
    assert both.validation_names == ["d_test"]
    both.prepare()
    with pytest.raises(SettingError) as error:
        data(tmp_path / "d")
    assert (error.value.key, error.value.got) == ("data.validation", 1)


def test_frames_and_sequences_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for sequence, frames in (("s10", ["0"]), ("s2", ["f10", "f9", "f1"])):
        for k, frame in enumerate(frames):
            blurred_pair(tmp_path / "g" / sequence, frame, seed=10 * len(frames) + k)
    found = blur_sharp_folders.find_sequences(tmp_path / "g", setting="data.root")
    assert [pair.name for pair in found] == ["s2/f1", "s2/f9", "s2/f10", "s10/0"]
    last = data(tmp_path / "g", validation="last_frames")
    assert [pair.name for pair in last.validation_sets["g_last_frames"]] == ["s2/f10"]


def test_folders_that_are_no_sequence_are_named_and_hidden_or_empty_ones_are_not(tmp_path: Path) -> None:
    gopro(tmp_path / "g", test=0)
    for folder in ("other/Blurred", "bare/blur", "bare/sharp", "empty", ".cache/x"):
        (tmp_path / "g" / "train" / folder).mkdir(parents=True)
    photo(tmp_path / "g" / "train" / "loose" / "a.png")
    with pytest.raises(DataProblem, match="3 problems") as caught:
        data(tmp_path / "g")
    named = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert [line.split(" holds no pairs")[0] for line in named] == [
        f"{tmp_path}/g/train/{name}" for name in ("bare", "loose", "other")
    ]


# --- splits ---


def test_whole_sequences_are_held_out(tmp_path: Path) -> None:
    held = data(gopro(tmp_path / "g", train=3), validation=2, val_limit=4, benchmarks=[str(tmp_path / "g")])
    assert {pair.sequence for pair in held.train_pairs} == {"train0"}
    assert [pair.name for pair in held.validation_sets["g_held_out"]] == [
        "train1/000000",
        "train1/000001",
        "train1/000002",
        "train2/000000",
    ]
    assert held.test_names == ["g_held_out", "g_test"]
    assert set(held.prepare()) == {"training", "g_held_out", "g_test"}
    assert held.warnings == []


def test_gopro_under_several_roots_is_scored_on_the_test_parts_of_all(tmp_path: Path) -> None:
    for k, name in enumerate(("a", "b")):
        for part in ("train", "test"):
            blurred_pair(tmp_path / name / part / f"{part}_{name}", "0", seed=10 * k + len(part))
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        roots = f"data.root=[{tmp_path}/a,{tmp_path}/b]"
        both = build(compose("fit", overrides=["model=deblur_tiny", "data=gopro", roots]).data, "data")
    assert both.test_names == ["a_held_out", "a_test", "b_test"]


def test_sequences_of_one_name_under_two_roots_are_two(tmp_path: Path) -> None:
    for k, root in enumerate(("a", "b")):
        for frame in range(2):
            blurred_pair(tmp_path / root / "s", f"{frame}", seed=10 * k + frame)
    roots = [str(tmp_path / "a"), str(tmp_path / "b")]
    held = DeblurData(root=roots, patch_size=16, validation=1)
    assert [pair.gt.parts[-4] for pair in held.train_pairs] == ["a", "a"]
    assert [pair.gt.parts[-4] for pair in held.validation_sets["a_held_out"]] == ["b", "b"]
    held.prepare()
    assert ["sequence s is in training and in a_held_out" in warning for warning in held.warnings] == [True]
    last = DeblurData(root=roots, patch_size=16, validation="last_frames")
    assert [pair.gt.parts[-4] for pair in last.validation_sets["a_last_frames"]] == ["a", "b"]


@pytest.mark.parametrize("setting", ["validation", "benchmarks"])
def test_a_set_called_training_cannot_stand_in_for_the_training_images(tmp_path: Path, setting: str) -> None:
    gopro(tmp_path / "g", test=0)
    twin = tmp_path / "v" / "training"
    twin.parent.mkdir()
    (tmp_path / "g" / "train").rename(twin)
    root = [str(twin / "train0"), str(twin / "train1")]
    settings: dict[str, Any] = {setting: str(twin) if setting == "validation" else [str(twin)]}
    with pytest.raises(SettingError) as error:
        DeblurData(root=root, patch_size=16, **settings).prepare()
    assert (error.value.key, error.value.remedy) == (f"data.{setting}", "rename the folder")


def test_a_single_sequence_is_an_error_whose_remedy_works_and_is_remembered(tmp_path: Path) -> None:
    gopro(tmp_path / "g", train=1, frames=12)
    with pytest.raises(SettingError) as error:
        data(tmp_path / "g")
    assert (error.value.key, error.value.got) == ("data.validation", 1)
    assert "the one sequence train0" in error.value.expected
    assert "data.validation=last_frames" in error.value.remedy
    last = data(tmp_path / "g", validation="last_frames")
    assert [pair.name for pair in last.validation_sets["g_last_frames"]] == ["train0/000011"]
    assert len(last.train_pairs) == 11
    last.prepare()
    assert last.warnings == [
        "sequence train0 is in training and in g_last_frames: its frames are near-duplicates, so scores are optimistic"
    ]


def test_one_frame_sequences_are_held_out_whole_or_not_at_all(tmp_path: Path) -> None:
    gopro(tmp_path / "g", train=3, frames=1)
    assert [pair.name for pair in data(tmp_path / "g").validation_sets["g_held_out"]] == ["train2/000000"]
    with pytest.raises(SettingError) as error:
        data(tmp_path / "g", validation="last_frames")
    assert (error.value.key, error.value.got) == ("data.validation", "last_frames")


def test_a_sequence_name_in_two_splits_is_a_warning(tmp_path: Path) -> None:
    gopro(tmp_path / "g")
    (tmp_path / "g" / "test" / "test0").rename(tmp_path / "g" / "test" / "train1")
    both = data(tmp_path / "g", validation=str(tmp_path / "g"))
    both.prepare()
    assert len(both.warnings) == 1
    assert "train1 is in training and in g_test" in both.warnings[0]


def test_the_same_content_in_two_splits_is_refused(tmp_path: Path) -> None:
    gopro(tmp_path / "g")
    source = tmp_path / "g" / "train" / "train0" / "sharp" / "000001.png"
    (tmp_path / "g" / "test" / "test0" / "sharp" / "000002.png").write_bytes(source.read_bytes())
    with pytest.raises(DataProblem, match=r"test0/sharp/000002\.png \(g_test\): has the content of .*000001\.png"):
        data(tmp_path / "g", validation=str(tmp_path / "g")).prepare()


def test_a_blurred_file_in_two_splits_is_refused(tmp_path: Path) -> None:
    gopro(tmp_path / "g")
    source = tmp_path / "g" / "train" / "train0" / "blur" / "000001.png"
    (tmp_path / "g" / "test" / "test0" / "blur" / "000002.png").write_bytes(source.read_bytes())
    with pytest.raises(DataProblem, match=r"test0/blur/000002\.png \(g_test\): has the content of .*000001\.png"):
        data(tmp_path / "g", validation=str(tmp_path / "g")).prepare()


# --- checks ---


def test_all_problems_come_in_one_error(tmp_path: Path) -> None:
    gopro(tmp_path / "g", frames=5)
    folder = tmp_path / "g" / "train" / "train0"
    (folder / "blur" / "000000.png").unlink()
    (folder / "sharp" / "000001.png").unlink()
    photo(folder / "blur" / "000002.png", 41, 50)
    (folder / "sharp" / "000003.png").write_bytes((folder / "sharp" / "000003.png").read_bytes()[:200])
    photo(tmp_path / "g" / "train" / "train1" / "blur" / "000000.png", 8, 50)
    photo(tmp_path / "g" / "train" / "train1" / "sharp" / "000000.png", 8, 50)
    with pytest.raises(DataProblem, match="5 problems") as caught:
        data(tmp_path / "g").prepare()
    message = str(caught.value)
    assert f"{folder}/sharp/000000.png: has no partner {folder}/blur/000000.png" in message
    assert f"{folder}/blur/000001.png: has no partner {folder}/sharp/000001.png" in message
    assert f"{folder}/blur/000002.png: 50x41 px, expected 50x40 px, as its partner" in message
    assert f"{folder}/sharp/000003.png: damaged or truncated" in message
    assert "000000.png: 50x8 px, expected sides of at least 11 px (SSIM's window)" in message


def test_swapped_folders_are_warned_of(tmp_path: Path) -> None:
    gopro(tmp_path / "g")
    folder = tmp_path / "g" / "train" / "train0"
    (folder / "blur").rename(folder / "x")
    (folder / "sharp").rename(folder / "blur")
    (folder / "x").rename(folder / "sharp")
    swapped = data(tmp_path / "g")
    swapped.prepare()
    assert len(swapped.warnings) == 1
    assert "training: 3 of 3 blurred images are as sharp as the sharp ones or sharper" in swapped.warnings[0]
    assert str(folder / "blur" / "000000.png") in swapped.warnings[0]


def test_a_copy_of_the_sharp_image_is_warned_of_and_a_slight_blur_is_not(tmp_path: Path) -> None:
    gopro(tmp_path / "g")
    folder = tmp_path / "g" / "train" / "train0"
    (folder / "blur" / "000001.png").write_bytes((folder / "sharp" / "000001.png").read_bytes())
    for k in (0, 2):  # at least 0.9 as sharp
        with Image.open(folder / "sharp" / f"00000{k}.png") as file:
            grey = Image.new("RGB", file.size, (128, 128, 128))
            Image.blend(file, grey, 0.04).save(folder / "blur" / f"00000{k}.png")
        sharp, slight = (sharpness(read_rgb8(folder / part / f"00000{k}.png")) for part in ("sharp", "blur"))
        assert 0.9 * sharp < slight < sharp
    copied = data(tmp_path / "g")
    copied.prepare()
    assert len(copied.warnings) == 1
    assert "training: 1 of 3 blurred images are as sharp as the sharp ones or sharper" in copied.warnings[0]
    assert str(folder / "blur" / "000001.png") in copied.warnings[0]


@pytest.mark.parametrize(("height", "width"), [(1, 30), (30, 1), (10, 40)])
def test_images_too_small_to_be_scored_are_refused(tmp_path: Path, height: int, width: int) -> None:
    gopro(tmp_path / "g")
    for part in ("blur", "sharp"):
        photo(tmp_path / "g" / "test" / "test0" / part / "000000.png", height, width)
    with pytest.raises(DataProblem, match=rf"{width}x{height} px, expected sides of at least 11 px \(SSIM's window\)"):
        data(tmp_path / "g", validation=str(tmp_path / "g")).prepare()


@pytest.mark.parametrize(
    ("settings", "key", "got"),
    [
        ({"root": "gone"}, "root", "gone"),
        ({"root": "flat"}, "root", "1 problem with the data"),
        ({"root": "empty"}, "root", "1 problem with the data"),
        ({"root": []}, "root", "empty"),
        ({"scale": 2}, "scale", 2),
        ({"patch_size": 1}, "patch_size", 1),
        ({"validation": 2}, "validation", 2),
        ({"validation": "gone"}, "validation", "gone"),
        ({"validation": "last_frame"}, "validation", "last_frame"),
        ({"val_limit": 0}, "val_limit", 0),
        ({"benchmarks": ["gone"]}, "benchmarks", "gone"),
        ({"validation": "g", "benchmarks": ["g"]}, "benchmarks", "g"),
        ({"benchmarks": ["g", "g"]}, "benchmarks", "g"),
        ({"benchmarks": ["g", "other/g"]}, "benchmarks", "other/g"),
        ({"batch_size": 0}, "batch_size", 0),
        ({"num_workers": -1}, "num_workers", -1),
        ({"cache_gb": -1.0}, "cache_gb", -1.0),
        ({"degradations": [3]}, "degradations", [3]),
    ],
)
def test_bad_settings_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], key: str, got: object
) -> None:
    monkeypatch.chdir(tmp_path)
    gopro(Path("g"), frames=1)
    gopro(Path("other/g"), frames=1)
    photo(Path("flat") / "a.png")
    Path("empty").mkdir()
    with pytest.raises(SettingError) as error:
        data(Path("g"), **settings)
    assert (error.value.key, str(error.value.got)) == (f"data.{key}", str(got))


def test_a_folder_without_pairs_is_told_what_it_needs(tmp_path: Path) -> None:
    photo(tmp_path / "flat" / "a.png")
    with pytest.raises(DataProblem) as error:
        data(tmp_path / "flat")
    assert all(part in error.value.problems[0] for part in ("flat holds no pairs", "{blur,sharp}", "synthetic_blur"))


# --- crops ---


def test_sharp_photos_are_blurred_alike_for_the_same_seed_and_number(tmp_path: Path) -> None:
    photos = [photo(tmp_path / "p" / f"{k}.png", 60, 70, seed=k) for k in range(3)]
    synthetic = data(tmp_path / "p", degradations=[MotionBlur()], validation=1)
    assert [pair.gt for pair in synthetic.train_pairs] == photos[:2]
    assert synthetic.validation_names == ["p_held_out"]

    def crops(**changes: Any) -> TrainingCrops:
        settings: dict[str, Any] = {"scale": 1, "patch_size": 16, "count": 9, "seed": 0} | changes
        return TrainingCrops(synthetic.train_pairs, degradations=[MotionBlur()], **settings)

    for i in (4, 0):
        assert torch.equal(crops()[i]["lq"], crops(count=5)[i]["lq"])
        assert crops()[i]["lq"].shape == crops()[i]["gt"].shape == (3, 16, 16)
        assert not torch.equal(crops()[i]["lq"], crops()[i]["gt"])
        assert crops()[i]["degradation"].startswith("motion ")
    assert not torch.equal(crops()[0]["lq"], crops(seed=1)[0]["lq"])


def test_sharp_photos_may_lie_in_split_folders(tmp_path: Path) -> None:
    for k, part in enumerate(("train", "train", "test")):
        photo(tmp_path / "p" / part / f"{k}.png", seed=k)
    split = data(tmp_path / "p", degradations=[MotionBlur()], validation=str(tmp_path / "p"))
    assert [pair.name for pair in split.train_pairs] == ["0", "1"]
    assert {name: len(pairs) for name, pairs in split.validation_sets.items()} == {"p_test": 1}
    held = data(tmp_path / "p", degradations=[MotionBlur()])
    assert {name: len(pairs) for name, pairs in held.validation_sets.items()} == {"p_held_out": 1}


def test_pairs_and_photos_can_be_mixed(tmp_path: Path) -> None:
    gopro(tmp_path / "g")
    photo(tmp_path / "p" / "a.png")
    roots = [str(tmp_path / "g"), str(tmp_path / "p")]
    mixed = DeblurData(root=roots, patch_size=16, degradations=[MotionBlur()], validation=str(tmp_path / "g"))
    assert [pair.lq is None for pair in mixed.train_pairs] == [False] * 6 + [True]
    mixed.prepare()


def test_the_frames_at_hand_are_pairs_of_one_scene(shared_data: Path) -> None:
    root = str(shared_data / "gopro")
    real = DeblurData(root=root, validation="last_frames", benchmarks=[root])
    assert (len(real.train_pairs), real.test_names) == (29, ["gopro_last_frames", "gopro_test"])
    first = real.test_sets["gopro_test"][0]
    checked = check_pairs([first], 1, setting="data.root")
    assert checked.sharper == []
    assert first.name == "GOPR0372_07_00/000120"
    warnings = blur_sharp_folders.shared_sequences({"training": real.train_pairs} | real.test_sets)
    assert len(warnings) == 1
    assert "training and in gopro_last_frames and in gopro_test" in warnings[0]
