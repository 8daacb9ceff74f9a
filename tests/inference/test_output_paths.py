import logging
from pathlib import Path

import pytest

from restore.inference.output_paths import passed_over, plan, refuse_no_input
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


def test_images_in_folders_of_the_folder_are_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b", "a/deep"):
        photo(tmp_path / "in" / name / "1.png")
    with pytest.raises(SettingError) as error:
        plan("in", None, 2)
    assert error.value.key == "input"
    assert "in/a/deep" in error.value.expected
    (found,) = plan("in/a/**/*", None, 2)
    assert found[0] == Path("in/a/deep/1.png")


@pytest.mark.parametrize("content", [b"", b"some words", b"%PDF-1.7"])
def test_a_file_that_is_no_image_is_refused_by_its_first_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(SettingError) as error:
        refuse_no_input(str(tmp_path / "a.png"))
    assert error.value.key == "input"
    for suffix in ("png", "jpg", "tif", "webp", "bmp"):
        refuse_no_input(str(photo(tmp_path / f"b.{suffix}")))


def test_what_is_passed_over_is_counted_and_other_endings_of_jpeg_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.jpg"):
        photo(tmp_path / "in" / name)
    (tmp_path / "in" / "b.jpg").rename(tmp_path / "in" / "b.JFIF")
    for name in ("c.jxl", "d.JXL", "e.gif", "notes.txt"):
        (tmp_path / "in" / name).touch()
    (tmp_path / "in" / "more.png").mkdir()
    assert passed_over("in") == "2 .jxl, 1 .gif"
    assert passed_over("in/*.gif") == "1 .gif"
    expected = [("in/a.png", "in_x2/a_x2.png"), ("in/b.JFIF", "in_x2/b_x2.png")]
    assert plan("in", None, 2) == [(Path(source), tmp_path / target) for source, target in expected]
    with caplog.at_level(logging.WARNING):
        assert [source for source, _ in plan("in/*", "out", 2)] == [Path("in/a.png"), Path("in/b.JFIF")]
    assert "skipped: 1 folder, such as in/more.png" in caplog.text


def test_brackets_of_a_glob_get_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "album [2024]" / "a.png")
    with pytest.raises(SettingError) as error:
        plan("album [2024]/*.png", None, 2)
    assert "[[]" in error.value.remedy
    assert plan("album [[]2024]/*.png", "out", 2) == [(Path("album [2024]/a.png"), Path("out/a_x2.png"))]
    assert plan("album [2024]", "out", 2)[0][1] == Path("out/a_x2.png")
