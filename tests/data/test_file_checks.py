from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from restore.data.file_checks import check_pairs, refuse_shared, sharpness, smallest_scored
from restore.data.hr_lr_folders import find_pairs
from restore.data.pair import DataProblem
from restore.image.reading import read_rgb8
from tests.conftest import photo


def test_every_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(3):
        photo(tmp_path / f"{k}.png", seed=k)
    opened: list[Path] = []
    read = Path.read_bytes

    def counted(path: Path) -> bytes:
        opened.append(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    check_pairs(find_pairs(str(tmp_path), 2), 2, setting="data.root")
    assert sorted(opened) == [tmp_path / f"{k}.png" for k in range(3)]


def test_a_fingerprint_follows_content_and_names(tmp_path: Path) -> None:
    def fingerprint() -> str:
        return check_pairs(find_pairs(str(tmp_path / "s"), 2), 2, setting="data.root").fingerprint

    photo(tmp_path / "s" / "a.png")
    first = fingerprint()
    assert fingerprint() == first
    (tmp_path / "s" / "a.png").rename(tmp_path / "s" / "b.png")
    renamed = fingerprint()
    photo(tmp_path / "s" / "b.png", seed=1)
    assert len({first, renamed, fingerprint()}) == 3


def test_a_blurred_image_is_less_sharp_and_one_pixel_is_neither(tmp_path: Path) -> None:
    source = read_rgb8(photo(tmp_path / "a.png"))
    with Image.open(tmp_path / "a.png") as file:
        file.filter(ImageFilter.BoxBlur(2)).save(tmp_path / "b.png")
    assert sharpness(read_rgb8(tmp_path / "b.png")) < sharpness(source)
    assert np.isnan(sharpness(source[:, :1]))


def test_the_smallest_side_leaves_ssims_window_without_the_border() -> None:
    assert [smallest_scored(border).pixels for border in (0, 2, 4)] == [11, 15, 19]


def test_everything_shared_by_two_sets_is_named_once() -> None:
    sets = {
        "a": {"1": Path("a/1"), "2": Path("a/2")},
        "b": {"2": Path("b/2"), "3": Path("b/3")},
        "c": {"3": Path("c/3")},
    }
    with pytest.raises(DataProblem) as error:
        refuse_shared(sets, "is")
    assert error.value.problems == ["b/2 (b): is a/2 (a)", "c/3 (c): is b/3 (b)"]
