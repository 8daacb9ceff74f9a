import os
from pathlib import Path

import pytest

from restore.io import files
from restore.io.errors import SettingError


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_file_is_replaced_as_a_whole_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.txt"
    for text in ("first", "zweiter \u00fc\n"):
        files.write_text(path, text)
        assert path.read_bytes() == text.encode("utf-8")
    assert names(path.parent) == ["a.txt"]


def test_a_write_cut_short_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.png"
    path.write_bytes(b"the old file")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"a\.png could not be written \(No space left on device\).* free disk space"):
        files.write_bytes(path, b"the new file")
    assert path.read_bytes() == b"the old file"
    assert names(tmp_path) == ["a.png"]


def test_room_is_asked_for_only_where_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(OSError, match=r"a\.png could not be written \(Operation not permitted\)") as error:
        files.write_bytes(tmp_path / "a.png", b"new")
    assert "free disk space" not in str(error.value)


def test_before_the_move_both_files_are_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    seen: list[bytes] = []

    def look() -> None:
        seen.extend(each.read_bytes() for each in sorted(tmp_path.iterdir()))

    files.write_bytes(path, b"new", before_move=look)
    assert (sorted(seen), path.read_bytes()) == ([b"new", b"old"], b"new")


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("[a].ckpt", ".[a].ckpt.17.tmp", ".[a].ckpt.2345.tmp", ".b.ckpt.17.tmp", ".a.ckpt.17.tmp", "x.tmp"):
        (tmp_path / name).touch()
    files.remove_temporaries(tmp_path / "[a].ckpt")
    assert names(tmp_path) == [".a.ckpt.17.tmp", ".b.ckpt.17.tmp", "[a].ckpt", "x.tmp"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with pytest.raises(SettingError, match="Not a directory") as error:
        files.refuse_unwritable(tmp_path / "plain" / "x")
    assert (error.value.key, error.value.got) == ("output", tmp_path / "plain" / "x")
    with pytest.raises(SettingError) as error:
        files.refuse_unwritable(tmp_path / "plain" / "x", setting="check.output")
    assert error.value.key == "check.output"
    files.refuse_unwritable(tmp_path / "new" / "er")
    assert names(tmp_path / "new" / "er") == []


def test_a_locked_folder_takes_no_second(tmp_path: Path) -> None:
    assert not files.is_locked(tmp_path)
    with files.locked(tmp_path):
        assert files.is_locked(tmp_path)
        with pytest.raises(SettingError) as error, files.locked(tmp_path):
            pass
    assert (error.value.key, error.value.got) == ("run_id", tmp_path.name)
    assert not files.is_locked(tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", '{"a": 1', '{"b": 1}'])
def test_a_damaged_mapping_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=r"a\.json is damaged"):
        files.read_mapping(tmp_path / "a.json", ("a",))


def test_numbers_of_a_json_file_stay_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1e-06}')
    (tmp_path / "a.yaml").write_text("a: 3\n")
    assert files.read_mapping(tmp_path / "a.json") == {"a": 1e-6}
    assert files.read_mapping(tmp_path / "a.yaml", ["a"]) == {"a": 3}


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_a_pipe_a_device_and_a_terabyte_of_nothing_are_damaged_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir(), _sparse):
        make(path)
        with pytest.raises(ValueError, match="is damaged or missing"):
            files.read_mapping(path)
        path.rmdir() if path.is_dir() else path.unlink()


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)
