from pathlib import Path

import pytest

from restore.inference.output_paths import plan
from restore.io.errors import SettingError
from tests.conftest import photo


def test_each_file_of_a_folder_becomes_one_beside_it(tmp_path: Path) -> None:
    for name in ("10.png", "9.jpg"):
        photo(tmp_path / "in" / name)
    tasks = plan(str(tmp_path / "in"), None, 2)
    expected = [("9.jpg", "9_x2.png"), ("10.png", "10_x2.png")]
    assert tasks == [(tmp_path / "in" / source, tmp_path / "in_x2" / target) for source, target in expected]


@pytest.mark.parametrize(
    ("source", "output", "format_", "key"),
    [
        ("gone.png", None, None, "input"),
        ("gone*.png", None, None, "input"),
        ("in", "out.gif", None, "output"),
        ("in/a.png", "in/a.png", None, "output"),
        ("in/*.*", "one.png", None, "output"),
        ("in", None, "gif", "format"),
        ("in/a.png", "b.png", "jpg", "format"),
    ],
)
def test_settings_that_name_no_result_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, output: str | None, format_: str | None, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.jpg"):
        photo(tmp_path / "in" / name)
    with pytest.raises(SettingError) as error:
        plan(source, output, 2, format_=format_)
    assert error.value.key == key
