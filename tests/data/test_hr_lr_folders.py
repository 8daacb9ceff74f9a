import logging
import pickle
from pathlib import Path

import pytest
import torch

from restore.data.embedded_photos import EMBEDDED, embedded
from restore.data.hr_lr_folders import find_pairs, set_name
from restore.data.pair import DataProblem, Pair
from tests.conftest import photo


def test_set_names_are_folder_names(tmp_path: Path) -> None:
    assert set_name(f"{tmp_path}/Set5/") == "Set5"
    assert set_name("photos_held_out") == "photos_held_out"


def test_embedded_photos_are_files_of_the_installed_library() -> None:
    assert not set(EMBEDDED["photos_train"]) & set(EMBEDDED["photos_held_out"])
    for name in EMBEDDED:
        assert all(file.is_file() for file in embedded(name))


def test_two_images_side_by_side_are_split_in_the_middle() -> None:
    whole = torch.arange(6).expand(1, 1, 6)
    gt, lq = Pair("a", Path("a"), Path("a"), lq_half="left").split([whole])
    assert (lq.flatten().tolist(), gt.flatten().tolist()) == ([0, 1, 2], [3, 4, 5])


def test_problems_of_data_come_out_of_other_processes_as_they_are() -> None:
    problem = DataProblem("data", [f"{k}.png: damaged" for k in range(25)])
    again = pickle.loads(pickle.dumps(problem))
    assert (str(again), again.key, again.problems) == (str(problem), "data", problem.problems)
    assert str(problem).splitlines()[0] == "data: 25 problems with the data; fix or remove the files:"
    assert str(problem).splitlines()[-1] == "  ... and 5 more"


@pytest.mark.parametrize(
    ("sharp", "prepared"),
    [
        ("set/HR", "set/LR_bicubic/x2"),
        ("set/HR", "set/lr_bicubic/X2"),
        ("set/HR", "set/LRbicx2"),
        ("set/hr", "set/LR/x2"),
        ("set/DIV2K_train_HR", "set/DIV2K_train_LR_bicubic_X2"),
    ],
)
def test_likely_misspellings_of_prepared_images_are_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sharp: str, prepared: str
) -> None:
    photo(tmp_path / sharp / "a.png", 8, 8)
    small = photo(tmp_path / prepared / "a.png", 4, 4)
    with caplog.at_level(logging.WARNING):
        assert [pair.lq for pair in find_pairs(str(tmp_path / "set"), 2)] == [small]
    assert f"{tmp_path / prepared} is used as" in caplog.text


def test_image_folders_beside_the_sharp_ones_that_are_not_used_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo(tmp_path / "HR" / "a.png", 8, 8)
    photo(tmp_path / "LR_unknown" / "X2" / "a.png", 4, 4)
    photo(tmp_path / "LR_bicubic" / "X4" / "a.png", 2, 2)
    (tmp_path / "notes").mkdir()
    with caplog.at_level(logging.WARNING):
        assert [pair.lq for pair in find_pairs(str(tmp_path), 2)] == [None]
    assert "LR_unknown/X2" in caplog.text
    assert "LR_bicubic/X4" in caplog.text
    assert "notes" not in caplog.text
    caplog.clear()
    small = photo(tmp_path / "LR_bicubic" / "X2" / "a.png", 4, 4)
    with caplog.at_level(logging.WARNING):
        assert [pair.lq for pair in find_pairs(str(tmp_path), 2)] == [small]
        assert [pair.lq for pair in find_pairs(str(tmp_path / "HR"), 2)] == [small]  # named by itself
    assert not caplog.text
