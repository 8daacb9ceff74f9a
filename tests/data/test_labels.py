from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from restore.data.labels import Labels
from restore.io.errors import SettingError

Array = NDArray[Any]
PALETTE = ((0, 0, 255), (255, 80, 0), (0, 255, 0), (20, 20, 20))


def colours(classes: Array) -> Array:
    return np.array(PALETTE, dtype=np.uint8)[classes]


def classes_of(seed: int = 0, height: int = 24, width: int = 32) -> Array:
    """Blocks of 8 x 8 pixels, as JPEG codes them."""
    blocks = np.random.default_rng(seed).integers(0, len(PALETTE), (height // 8, width // 8), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def indexed(classes: Array) -> Image.Image:
    image = Image.fromarray(classes, "P")
    image.putpalette([level for colour in PALETTE for level in colour])
    return image


def test_colours_palettes_and_grey_levels_give_the_same_classes(tmp_path: Path) -> None:
    classes = classes_of()
    Image.fromarray(colours(classes)).save(tmp_path / "colour.png")
    indexed(classes).save(tmp_path / "palette.png")
    Image.fromarray(classes).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([colours(classes), np.full(classes.shape, 9, np.uint8)])).save(tmp_path / "alpha.png")
    labels = Labels(palette=PALETTE, snap_distance=0)
    for name in ("colour", "palette", "grey", "alpha"):
        found = labels.read(tmp_path / f"{name}.png")
        assert found.dtype == torch.uint8
        assert np.array_equal(found[0].numpy(), classes), name


def test_black_and_white_is_two_classes(tmp_path: Path) -> None:
    pattern = np.random.default_rng(0).random((5, 9)) > 0.5
    Image.fromarray(pattern).save(tmp_path / "a.png")
    found = Labels(classes=2, one_hot=True).read(tmp_path / "a.png")
    assert np.array_equal(found[0].numpy(), pattern.astype(np.uint8))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 9999), reach=st.integers(0, 40))
def test_a_colour_snaps_back_from_anywhere_nearer_than_half_way_to_the_next(seed: int, reach: int) -> None:
    random = np.random.default_rng(seed)
    classes = classes_of(seed)
    moved = colours(classes).astype(int) + random.integers(-reach, reach + 1, (*classes.shape, 3))
    rgb = torch.from_numpy(moved.clip(0, 255).astype(np.uint8)).permute(2, 0, 1)
    # the nearest two colours are 216 apart, and three channels move at most sqrt(3) reach
    found = Labels(palette=PALETTE, snap_distance=1.8 * max(reach, 1)).snap(rgb, Path("a.png"))
    assert np.array_equal(found[0].numpy(), classes)


def test_every_pixel_takes_the_nearest_colour() -> None:
    rgb = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (3, 20, 30), dtype=np.uint8))
    found = Labels(palette=PALETTE, snap_distance=450).snap(rgb, Path("a.png"))[0].numpy()
    distance = ((rgb.permute(1, 2, 0).numpy()[:, :, None].astype(float) - np.array(PALETTE)) ** 2).sum(-1)
    assert np.array_equal(found, distance.argmin(-1))


def test_a_smeared_map_is_refused_with_file_and_count_or_read_as_allowed(tmp_path: Path) -> None:
    classes = classes_of(height=64, width=64)
    Image.fromarray(colours(classes)).save(tmp_path / "a.jpg", quality=80, subsampling=2)
    with pytest.raises(
        ValueError, match=r"a\.jpg: (\d+) of 4096 pixels \(\d+%\) are farther than data\.snap_distance=48"
    ) as hit:
        Labels(palette=PALETTE).read(tmp_path / "a.jpg")
    assert all(
        part in str(hit.value) for part in ("at most 0% (data.snap_share)", "data.snap_share=0.", "would suffice")
    )
    found = Labels(palette=PALETTE, snap_share=0.4).read(tmp_path / "a.jpg")
    inside = (slice(None), slice(2, 6), slice(None), slice(2, 6))  # of the blocks
    assert np.array_equal(found.numpy().reshape(8, 8, 8, 8)[inside], classes.reshape(8, 8, 8, 8)[inside])


def test_the_facades_at_hand_snap_and_their_photos_are_refused(shared_data: Path) -> None:
    from hydra import compose, initialize_config_dir

    from restore.config.command import conf_dir
    from restore.image.reading import read_rgb8

    with initialize_config_dir(conf_dir(), version_base="1.3"):
        data = compose("fit", overrides=["data=facades"]).data
    palette = tuple(tuple(colour) for colour in data.palette)
    labels = Labels(palette=palette, snap_distance=data.snap_distance, snap_share=data.snap_share)
    files = sorted((shared_data / "facades").iterdir())
    assert len(files) == 7
    for file in files:
        photo, map_ = read_rgb8(file).split(256, 2)
        found = labels.snap(map_, file)
        assert len(found.unique()) >= 5
        exact = (torch.tensor(palette)[found[0].long()].permute(2, 0, 1) - map_.long()).abs().amax(0)
        assert (exact <= 8).float().mean() > 0.55
        with pytest.raises(ValueError, match=r"65536 of 65536 pixels \(100%\) are farther"):
            labels.snap(photo, file)


def test_one_hot_is_a_partition_and_colours_are_the_palettes() -> None:
    classes = torch.from_numpy(classes_of())[None]
    planes = Labels(palette=PALETTE, one_hot=True).encode(classes)
    assert planes.shape == (4, 24, 32)
    assert planes.dtype == torch.float32
    assert (planes.sum(0) == 1).all()
    assert torch.equal(planes.argmax(0), classes[0].long())
    shown = Labels(palette=PALETTE).encode(classes)
    assert np.array_equal((shown * 255).round().permute(1, 2, 0).numpy(), colours(classes[0].numpy()))


def test_an_index_beyond_the_classes_is_counted(tmp_path: Path) -> None:
    classes = classes_of()
    classes[0, :5] = 200
    Image.fromarray(classes).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: holds index 200 at 5 of 768 pixels, expected indices below 4"):
        Labels(palette=PALETTE).read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("mode", "name", "part"),
    [
        ("RGB", "a.png", "has mode RGB"),
        ("I;16", "a.png", "has mode I;16"),
        ("L", "a.jpg", "grey JPEG.*save it as PNG"),
    ],
)
def test_files_that_hold_no_indices_are_refused(tmp_path: Path, mode: str, name: str, part: str) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / name)
    with pytest.raises(ValueError, match=part):
        Labels(classes=3, one_hot=True).read(tmp_path / name)


def test_colours_side_by_side_need_a_palette() -> None:
    with pytest.raises(ValueError, match=r"a\.png: holds colours.*set data\.palette"):
        Labels(classes=3, one_hot=True).snap(torch.zeros(3, 4, 4, dtype=torch.uint8), Path("a.png"))


@pytest.mark.parametrize(
    ("arguments", "key", "got"),
    [
        ({}, "palette", None),
        ({"classes": 3}, "palette", None),
        ({"classes": 1, "one_hot": True}, "classes", 1),
        ({"classes": 257, "one_hot": True}, "classes", 257),
        ({"palette": PALETTE, "classes": 5}, "classes", 5),
        ({"palette": ((0, 0, 0),)}, "palette", [[0, 0, 0]]),
        ({"palette": ((0, 0, 0), (0, 0, 0))}, "palette", [[0, 0, 0], [0, 0, 0]]),
        ({"palette": ((0, 0, 0), (0, 0, 256))}, "palette", [[0, 0, 0], [0, 0, 256]]),
        ({"palette": ((0, 0, 0), (0, 0))}, "palette", [[0, 0, 0], [0, 0]]),
        ({"palette": PALETTE, "snap_distance": -1.0}, "snap_distance", "-1"),
        ({"palette": PALETTE, "snap_share": 1.5}, "snap_share", "1.5"),
    ],
)
def test_settings_that_do_not_fit_are_named(arguments: dict[str, Any], key: str, got: object) -> None:
    with pytest.raises(SettingError) as error:
        Labels(**arguments)
    assert (error.value.key, error.value.got) == (f"data.{key}", got)
