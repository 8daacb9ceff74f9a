from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from restore.data.ab_folders import Layout
from restore.data.pair import DataProblem, DecodedPair, Pair
from restore.data.sampling import RunSampler
from restore.data.translation import TranslationData
from restore.data.translation_dataset import TranslationSource
from restore.degradations.basic import Canny, GaussianNoise, RandomOrder
from restore.image.decoded_image import to_float
from restore.image.reading import read_rgb8
from restore.io.errors import SettingError
from tests.conftest import photo

AGAIN = DecodedPair(torch.zeros(3, 1, 1), None, "")
PALETTE = [[0, 0, 255], [255, 80, 0], [0, 255, 0]]


def two_folders(root: Path, parts: dict[str, int], *, height: int = 40, width: int = 52) -> Path:
    """A is the image, B its negative."""
    for p, (part, count) in enumerate(parts.items()):
        for k in range(count):
            name = f"{k:02d}.png"
            pixels = np.asarray(Image.open(photo(root / part / "A" / name, height, width, seed=100 * p + k)))
            (root / part / "B").mkdir(exist_ok=True)
            Image.fromarray(255 - pixels).save(root / part / "B" / name)
    return root


def side_by_side(folder: Path, count: int, *, suffix: str = ".png", width: int = 52) -> Path:
    """Left an image, right its negative."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        pixels = np.asarray(Image.open(photo(folder / "x.png", 40, width, seed=k)))
        Image.fromarray(np.concatenate([pixels, 255 - pixels], 1)).save(folder / f"{k:02d}{suffix}")
    (folder / "x.png").unlink()
    return folder


def label_maps(root: Path, count: int) -> Path:
    """A holds palette indices, B an image."""
    for k in range(count):
        photo(root / "B" / f"{k}.png", 40, 48, seed=k)
        classes = np.random.default_rng(k).integers(0, 3, (5, 6), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        (root / "A").mkdir(exist_ok=True)
        Image.fromarray(classes).save(root / "A" / f"{k}.png")
    return root


def data(folder: Path | str, **settings: Any) -> TranslationData:
    arguments: dict[str, Any] = {"root": str(folder), "patch_size": 16} | settings
    return TranslationData(**arguments)


def decoded_again(pair: Pair) -> DecodedPair:
    return AGAIN


# --- layouts ---


def test_folders_a_and_b_of_a_split_are_understood_in_both_directions(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "set", {"train": 3, "val": 2, "test": 1})
    both = data(root, benchmarks=[str(root)])
    assert [pair.name for pair in both.train_pairs] == ["00", "01", "02"]
    assert both.train_pairs[0].files == [root / "train" / "B" / "00.png", root / "train" / "A" / "00.png"]
    assert (both.validation_names, both.test_names) == (["set_val"], ["set_val", "set_test"])
    assert list(both.prepare()) == ["training", "set_val", "set_test"]
    back = data(root, direction="b_to_a")
    assert back.train_pairs[0].files == [root / "train" / "A" / "00.png", root / "train" / "B" / "00.png"]
    alone = data(root / "train", validation=1)
    assert (len(alone.train_pairs), alone.validation_names) == (2, ["set_held_out"])


def test_other_names_and_splits_inside_the_folders_are_understood(tmp_path: Path) -> None:
    for part, seed in (("train", 0), ("test", 5)):
        photo(tmp_path / "d" / "contours" / part / "a.png", seed=seed)
        photo(tmp_path / "d" / "images" / part / "a.jpg", seed=seed + 1)
    found = data(tmp_path / "d", folder_a="contours", folder_b="images")
    assert found.train_pairs == [
        Pair("a", tmp_path / "d" / "images" / "train" / "a.jpg", tmp_path / "d" / "contours" / "train" / "a.png")
    ]
    assert found.validation_names == ["d_test"]


@pytest.mark.parametrize("width", [52, 53])
def test_side_by_side_is_cut_in_halves(tmp_path: Path, width: int) -> None:
    side_by_side(tmp_path / "s" / "train", 3, width=width)
    side_by_side(tmp_path / "s" / "test", 1)
    for direction in ("a_to_b", "b_to_a"):
        found = data(tmp_path / "s", direction=direction)
        sample = found.images(found.train_pairs)[0]
        whole = to_float(read_rgb8(tmp_path / "s" / "train" / "00.png"))
        left, right = whole[..., :width], whole[..., width:]
        expected = (left, right) if direction == "a_to_b" else (right, left)
        assert torch.equal(sample["lq"], expected[0])
        assert torch.equal(sample["gt"], expected[1])


def test_photos_alone_become_contours_and_photos(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("val", 1)):
        for k in range(count):
            photo(tmp_path / "p" / part / f"{part}{k}.png", 60, 70, seed=k + count)
    made = data(tmp_path / "p", degradations=[Canny(sigma=1.0)])
    made.prepare()
    sample = made.crops(4)[1]
    assert set(sample["lq"].unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(sample["lq"][0], sample["lq"][2])
    assert sample["degradation"] == "canny 1 px"
    assert made.validation_names == ["p_val"]


def test_the_embedded_photos_serve_for_contours_alone() -> None:
    made = data("photos_train", validation="photos_held_out", degradations=[Canny()])
    assert (len(made.train_pairs), made.validation_names) == (4, ["photos_held_out"])
    with pytest.raises(SettingError) as error:
        data("photos_train", validation=1)
    assert (error.value.key, error.value.got) == ("data.root", "photos_train")


def test_several_roots_are_one_set(tmp_path: Path) -> None:
    two_folders(tmp_path / "one", {"train": 2, "val": 1})
    side_by_side(tmp_path / "two", 2)
    both = data("", root=[str(tmp_path / "one"), str(tmp_path / "two")])
    assert [pair.lq_half for pair in both.train_pairs] == [None, None, "left", "left"]


def test_the_facades_at_hand_are_read_as_images_and_as_classes(shared_data: Path) -> None:
    root = shared_data / "facades"
    found = data(root, direction="b_to_a", validation=2, load_size=72, patch_size=64)
    found.prepare()
    assert len(found.train_pairs) == 5
    assert "training has 5 pairs, fewer than 100" in found.warnings[0]
    sample = found.images(found.validation_sets["facades_held_out"])[0]
    assert sample["lq"].shape == sample["gt"].shape == (3, 64, 64)
    assert sample["lq"][2].mean() > 0.6 > sample["gt"][2].mean()  # labels are blue, photos are not
    palette = [[0, 0, 222], [0, 48, 255], [0, 128, 255], [255, 80, 0], [174, 0, 0]]
    wide = {
        "palette": palette,
        "snap_distance": 200.0,
        "snap_share": 0.05,
        "one_hot": True,
        "in_channels": 5,
        "input_kind": "labels",
    }
    classes = data(root, direction="b_to_a", validation=2, load_size=72, patch_size=64, **wide)
    lq = classes.crops(1)[0]["lq"]
    assert lq.shape == (5, 64, 64)
    assert (lq.sum(0) == 1).all()


def test_drawn_contours_and_photos_at_hand_are_pairs(shared_data: Path) -> None:
    found = data(shared_data / "bsds", folder_a="contours", folder_b="images", load_size=144, patch_size=128)
    assert (len(found.train_pairs), {name: len(each) for name, each in found.test_sets.items()}) == (
        200,
        {"bsds_test": 200},
    )
    first = found.train_pairs[0]
    assert (first.gt.parent.parent.name, first.lq and first.lq.parent.parent.name) == ("images", "contours")
    assert list(found.source.check([first], setting="data").samples.values()) == [first]
    sample = found.images([first])[0]
    assert min(sample["lq"].shape[1:]) == 128
    assert sample["lq"].shape == sample["gt"].shape
    assert torch.equal(sample["lq"][0], sample["lq"][1])  # a grey file


# --- samples ---


def aligned(lq: torch.Tensor, gt: torch.Tensor) -> bool:
    """Whether gt is still the negative of lq, up to rounding after resizing."""
    return bool(((1 - lq) - gt).abs().max() <= 1.01 / 255)


@settings(max_examples=25, deadline=None)
@given(i=st.integers(0, 10**6), seed=st.integers(0, 9), load=st.sampled_from([None, 16, 23, 37, 60]))
def test_both_sides_of_a_crop_show_the_same_place(
    tmp_path_factory: pytest.TempPathFactory, i: int, seed: int, load: int | None
) -> None:
    root = tmp_path_factory.getbasetemp() / "aligned"
    if not root.exists():
        two_folders(root, {"train": 3, "val": 1})
    sample = data(root, load_size=load, seed=seed).crops(10**7)[i]
    assert sample["lq"].shape == sample["gt"].shape == (3, 16, 16)
    assert aligned(sample["lq"], sample["gt"])


def test_a_sample_is_a_function_of_seed_and_number_whatever_is_kept_in_memory(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "s", {"train": 4, "val": 1})
    kept, fresh, other = (data(root, load_size=30, cache_gb=gb, seed=s) for gb, s in ((1.0, 3), (0.0, 3), (1.0, 4)))
    kept.prepare()
    differs = 0
    for i in (7, 0, 3, 3, 12):
        a, b, c = (each.crops(20)[i] for each in (kept, fresh, other))
        assert a["name"] == b["name"]
        assert torch.equal(a["lq"], b["lq"])
        assert torch.equal(a["gt"], b["gt"])
        differs += not torch.equal(a["gt"], c["gt"])
    assert differs >= 4
    positions = list(RunSampler(10, 2, start=6))
    assert [kept.crops(20)[i]["name"] for i in positions[0]] == [fresh.crops(20)[i]["name"] for i in (12, 13)]


def test_crops_are_mirrored_half_the_time_and_never_turned(tmp_path: Path) -> None:
    root = tmp_path / "s"
    ramp = np.indices((16, 16))[1].astype(np.uint8) * 10
    for part in ("A", "B"):
        for split in ("train", "val"):
            (root / split / part).mkdir(parents=True)
            Image.fromarray(ramp).save(root / split / part / "a.png")
    found = data(root)
    rising = [bool(found.crops(200)[i]["gt"][0, 0].diff().mean() > 0) for i in range(200)]
    assert 70 < sum(rising) < 130
    assert all((found.crops(200)[i]["gt"].diff(dim=1) == 0).all() for i in range(20))
    assert all(bool(data(root, flip=False).crops(50)[i]["gt"][0, 0].diff().mean() > 0) for i in range(50))


def test_classes_stay_classes_through_jitter_and_flip(tmp_path: Path) -> None:
    root = label_maps(tmp_path / "s", 4)
    common = {"input_kind": "labels", "validation": 1, "load_size": 23}
    hot = data(root, one_hot=True, classes=3, in_channels=3, **common)
    shown = data(root, palette=PALETTE, **common)
    hot.prepare()
    for i in range(5):
        a, b = hot.crops(9)[i], shown.crops(9)[i]
        assert set(a["lq"].unique().tolist()) == {0.0, 1.0}
        assert (a["lq"].sum(0) == 1).all()
        colours = {tuple(colour) for colour in (b["lq"] * 255).round().flatten(1).T.int().tolist()}
        assert colours <= {tuple(colour) for colour in PALETTE}
        assert torch.equal(a["gt"], b["gt"])


def test_sizes_load_then_crop_and_validation_at_the_crops_size(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "s", {"train": 2, "val": 1}, height=40, width=61)
    jitter = data(root, load_size=20)
    assert jitter.crop_reader.read(jitter.train_pairs[0]).gt.shape == (3, 20, 30)
    assert jitter.images(jitter.validation_sets["s_val"])[0]["gt"].shape == (3, 16, 24)
    plain = data(root)
    assert plain.images(plain.validation_sets["s_val"])[0]["gt"].shape == (3, 40, 61)


def test_random_degradations_are_drawn_anew_and_fixed_ones_once(tmp_path: Path) -> None:
    photo(tmp_path / "p" / "a.png", 40, 40)
    photo(tmp_path / "p" / "b.png", 40, 40, seed=1)
    noisy = data(tmp_path / "p", validation=1, degradations=[GaussianNoise(low=0.1, high=0.1)], patch_size=40)
    first, second = noisy.crops(9)[0], noisy.crops(9)[1]
    assert not torch.equal(first["lq"], second["lq"])
    assert torch.equal(first["lq"], noisy.crops(9)[0]["lq"])
    assert noisy.crop_reader.read(noisy.train_pairs[0]).lq is None
    fixed = data(tmp_path / "p", validation=1, degradations=[Canny()])
    assert fixed.crop_reader.read(fixed.train_pairs[0]).lq is not None
    mixed = data(tmp_path / "p", validation=1, degradations=[RandomOrder(steps=[Canny()])])
    assert mixed.crop_reader.read(mixed.train_pairs[0]).lq is None


def test_the_check_keeps_what_fits_into_memory(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "s", {"train": 4, "val": 1})
    nbytes = 2 * 3 * 40 * 52
    for room, count in ((0.0, 0), (2.5 * nbytes / 2**30, 2), (1.0, 4)):
        found = data(root, cache_gb=room)
        found.prepare()
        assert sum(found.cache.get(pair, decoded_again) is not AGAIN for pair in found.train_pairs) == count


# --- checks ---


def test_all_problems_come_in_one_error(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "s", {"train": 6, "val": 1})
    train = root / "train"
    (train / "A" / "00.png").unlink()
    (train / "B" / "01.png").rename(train / "B" / "1.png")
    photo(train / "A" / "02.png", 41, 52)
    (train / "B" / "03.png").write_bytes((train / "B" / "03.png").read_bytes()[:150])
    for part in ("A", "B"):
        photo(train / part / "04.png", 1, 1)
    with pytest.raises(DataProblem, match="6 problems") as caught:
        data(root).prepare()
    message = str(caught.value)
    assert f"{train}/B/00.png: has no partner {train}/A/00.png" in message
    assert f"{train}/A/01.png: has no partner {train}/B/01.png" in message
    assert f"{train}/B/1.png: has no partner {train}/A/1.png" in message
    assert f"{train}/A/02.png: 52x41 px, expected 52x40 px, as its partner" in message
    assert f"{train}/B/03.png: damaged or truncated" in message
    assert f"{train}/B/04.png: 1x1 px, expected sides of at least 16 px (data.patch_size)" in message


def test_an_image_that_would_be_enlarged_too_much_is_refused(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "s", {"train": 1, "val": 1}, height=9, width=30)
    with pytest.raises(DataProblem, match=r"30x9 px, expected sides of at least 10 px \(data\.load_size enlarges it 4"):
        data(root, load_size=40).prepare()


def test_labels_that_are_none_are_named_before_training(tmp_path: Path) -> None:
    root = label_maps(tmp_path / "s", 4)
    (root / "A" / "2.png").write_bytes((root / "B" / "2.png").read_bytes())
    settings = {"input_kind": "labels", "palette": PALETTE, "validation": 1}
    with pytest.raises(DataProblem, match=r"1 problem .*\n.*A/2\.png: \d+ of 1920 pixels \(\d+%\) are farther"):
        data(root, **settings).prepare()
    with pytest.raises(DataProblem, match=r"4 problems(.|\n)*check data\.direction"):  # photos as labels
        data(root, direction="b_to_a", **settings).prepare()


def test_grey_alpha_palette_and_16_bit_images_are_colours(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    colour = Image.fromarray(pixels)
    for part in ("A", "B"):
        folder = tmp_path / "s" / part
        folder.mkdir(parents=True)
        colour.convert("L").save(folder / "grey.png")
        colour.convert("RGBA").save(folder / "alpha.png")
        colour.convert("P").save(folder / "palette.png")
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(folder / "sixteen.png")
        colour.convert("1").save(folder / "white.png")
    found = data(tmp_path / "s", validation=1)
    found.prepare()
    for k in range(len(found.train_pairs)):
        sample = found.images(found.train_pairs)[k]
        assert sample["lq"].shape == sample["gt"].shape == (3, 20, 24)
        assert torch.equal(sample["lq"], sample["gt"])


def test_one_pair_in_two_sets_is_refused_but_not_one_empty_contour(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "s", {"train": 2, "val": 2})
    for part in ("train", "val"):
        Image.new("L", (52, 40)).save(root / part / "A" / "00.png")
    data(root).prepare()
    for part in "AB":
        (root / "val" / part / "01.png").write_bytes((root / "train" / part / "01.png").read_bytes())
    with pytest.raises(DataProblem, match=r"val/B/01\.png \(s_val\): is the pair of .*train/B/01\.png \(training\)"):
        data(root).prepare()


def test_small_sets_are_warned_of_and_large_ones_are_not(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "s", {"train": 2, "val": 1})
    few = data(root)
    few.prepare()
    assert len(few.warnings) == 1
    assert few.warnings[0].startswith("training has 2 pairs, fewer than 100")
    few.train_pairs = few.train_pairs * 50
    few.prepare()
    assert few.warnings == []


def test_photos_taken_for_two_images_are_warned_of(tmp_path: Path) -> None:
    for k in range(3):
        photo(tmp_path / "p" / f"{k}.png", 40, 60, seed=k)
    wrong = data(tmp_path / "p", validation=1)
    wrong.prepare()
    assert "0.png and others are read as two images side by side" in wrong.warnings[1]
    assert "data=contours" in wrong.warnings[1]
    right = data(side_by_side(tmp_path / "s", 3), validation=1)
    right.prepare()
    assert len(right.warnings) == 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 40), (52, 40), (40, 61)])
def test_a_single_image_is_not_cut_in_halves(tmp_path: Path, height: int, width: int) -> None:
    side_by_side(tmp_path / "s" / "train", 2)
    side_by_side(tmp_path / "s" / "val", 1)
    photo(tmp_path / "s" / "train" / "single.png", height, width)
    with pytest.raises(DataProblem) as error:
        data(tmp_path / "s").prepare()
    (line,) = error.value.problems
    assert line.startswith(f"{tmp_path}/s/train/single.png: {width}x{height} px")
    assert "folder_a" in line
    data(tmp_path / "s", degradations=[Canny()], patch_size=11).source.check(  # which makes pairs of single images
        [Pair("single", photo(tmp_path / "single.png", 40, 41))], setting="data"
    )


@pytest.mark.parametrize(
    ("settings", "key", "got"),
    [
        ({"root": "gone"}, "root", "gone"),
        ({"root": []}, "root", "empty"),
        ({"scale": 2}, "scale", 2),
        ({"direction": "ab"}, "direction", "ab"),
        ({"folder_a": "B"}, "folder_a", "'B'"),
        ({"patch_size": 10}, "patch_size", 10),
        ({"load_size": 15}, "load_size", 15),
        ({"validation": 2}, "validation", 2),
        ({"validation": "gone"}, "validation", "gone"),
        ({"root": "flat"}, "validation", None),
        ({"benchmarks": ["gone"]}, "benchmarks", "gone"),
        ({"benchmarks": ["g/val"]}, "benchmarks", "g/val"),
        ({"input_kind": "label"}, "input_kind", "label"),
        ({"input_kind": "labels"}, "palette", None),
        ({"one_hot": True}, "one_hot", True),
        ({"in_channels": 1}, "in_channels", 1),
        ({"input_kind": "labels", "palette": [*PALETTE, [0, 0, 0]], "one_hot": True}, "in_channels", 3),
    ],
)
def test_bad_settings_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], key: str, got: object
) -> None:
    monkeypatch.chdir(tmp_path)
    two_folders(Path("g"), {"train": 2, "val": 1})
    side_by_side(Path("flat"), 2)
    with pytest.raises(SettingError) as error:
        data("g", **settings)
    assert (error.value.key, error.value.got) == (f"data.{key}", got)


def test_label_maps_cannot_be_made_by_degradations(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as error:
        data(tmp_path, input_kind="labels", palette=PALETTE, degradations=[Canny()])
    assert error.value.key == "data.degradations"


@pytest.mark.parametrize(("degradations", "part"), [([], "folders A and B"), ([Canny()], "or photos")])
def test_an_empty_folder_is_told_what_it_needs(tmp_path: Path, degradations: list[Any], part: str) -> None:
    with pytest.raises(DataProblem) as error:
        data(tmp_path, degradations=degradations)
    assert error.value.key == "data.root"
    assert "holds no images" in error.value.problems[0]
    assert part in error.value.problems[0]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    root = two_folders(tmp_path / "s", {"train": 1, "val": 1})
    photo(root / "train" / "A" / "00.jpg")
    with pytest.raises(DataProblem, match=r"00\.png: has the name of 00\.jpg"):
        data(root)


def test_whole_images_have_the_size_of_a_crop_where_crops_are_cut_from_resized_images() -> None:
    settings: dict[str, Any] = {"in_channels": 3, "input_kind": "rgb", "palette": None, "classes": None}
    settings |= {"one_hot": False, "snap_distance": 48.0, "snap_share": 0.0, "direction": "b_to_a", "folder_a": "A"}
    settings |= {"folder_b": "B", "patch_size": 32, "degradations": []}
    resized, plain = (TranslationSource(load_size=size, **settings) for size in (40, None))
    assert resized.layout == plain.layout == Layout(direction="b_to_a")
    assert (resized.reader.side, plain.reader.side) == (32, None)
    assert (resized.smallest_whole.pixels, plain.smallest_whole.pixels) == (10, 11)
