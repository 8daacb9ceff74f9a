from pathlib import Path

from restore.data.hr_lr_folders import find_pairs
from restore.data.known_sets import miscounted
from restore.data.pair import Pair
from tests.conftest import photo


def test_known_sets_are_counted_by_their_layout(tmp_path: Path) -> None:
    for name in ("a", "b"):
        photo(tmp_path / "GoPro" / "train" / name / "sharp" / "1.png")
        photo(tmp_path / "GoPro" / "train" / name / "blur" / "1.png")
    held_in = Pair("a/1", tmp_path / "GoPro" / "train" / "a" / "sharp" / "1.png")
    assert miscounted([held_in]) == [f"{tmp_path / 'GoPro' / 'train'} holds 2 images, the published set has 2103"]
    for k in range(5):
        photo(tmp_path / "Set5" / f"{k}.png")
    assert miscounted(find_pairs(str(tmp_path / "Set5"), 2)) == []
