from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Cli, photo


def test_photos_become_black_lines_on_white_of_the_side_asked_for(cli: Cli, tmp_path: Path) -> None:
    square = np.full((60, 90, 3), 40, np.uint8)
    square[20:40, 30:60] = 200
    Image.fromarray(square).save(tmp_path / "a.png")
    assert cli("contours", "a.png", "side=30").status == 0
    lines = np.asarray(Image.open(tmp_path / "a_contours.png").convert("L"))
    assert lines.shape == (30, 45)
    assert set(np.unique(lines)) == {0, 255}
    assert lines[0].min() == 255  # nothing at the border
    assert (lines == 0).any()
    assert cli("contours", "input=a.png", "side=null", "dark=false", "thickness=1", "output=white.png").status == 0
    inverse = np.asarray(Image.open(tmp_path / "white.png").convert("L"))
    assert inverse.shape == (60, 90)
    assert 0 < (inverse == 255).mean() < 0.1


def test_a_folder_goes_on_after_a_file_that_is_none(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png", 24, 24)
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    outcome = cli("contours", "input=in", "side=16")
    assert outcome.status == 1
    assert "contours: input: 1 of 2 images" in outcome.err
    assert "b.png" in outcome.err
    assert [path.name for path in (tmp_path / "in_contours").iterdir()] == ["a_contours.png"]


@pytest.mark.parametrize(
    ("override", "key"),
    [("input=gone.png", "input"), ("side=0", "side"), ("high=9", "low"), ("thickness=0", "thickness")],
)
def test_a_wrong_setting_is_one_sentence(override: str, key: str, cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 16, 16)
    outcome = cli("contours", "input=a.png", override)
    assert outcome.status == 1
    assert outcome.err.startswith(f"contours: {key} is ")
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "a_contours.png").exists()
