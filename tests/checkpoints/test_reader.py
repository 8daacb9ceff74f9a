"""A checkpoint is read, or refused by its name; none runs code."""

import functools
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore.checkpoints import reader
from restore.checkpoints.model_card import NotOurs
from restore.io.errors import SettingError
from restore.models.loading import load_network
from tests.tiny_checkpoints import ckpt, content, save


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.ckpt"):
        reader.read(tmp_path / "nowhere.ckpt")
    with pytest.raises(FileNotFoundError):
        reader.read(tmp_path)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_checkpoint_is_named(kept: float, tmp_path: Path) -> None:
    path = Path(ckpt(tmp_path))
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(SettingError) as error:
        reader.read(path)
    assert (error.value.key, error.value.got) == ("ckpt_path", path)


@pytest.mark.parametrize("data", [b"hello, I am a letter", b"\x89PNG\r\n\x1a\n", b"PK\3\4", b"\x80\2}q\0."])
def test_what_is_no_checkpoint_is_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(data)
    with pytest.raises(SettingError) as error:
        reader.read(tmp_path / "a.ckpt")
    assert (error.value.key, error.value.got) == ("ckpt_path", tmp_path / "a.ckpt")


@pytest.mark.parametrize("saved", [{"state_dict": {}}, [1, 2], torch.zeros(3), {"restore": 5}])
def test_a_file_of_another_program_is_refused(saved: Any, tmp_path: Path) -> None:
    with pytest.raises(NotOurs) as error:
        reader.read(save(tmp_path / "a.ckpt", saved))
    assert error.value.key == "ckpt_path"


@pytest.mark.parametrize("changed", [{"format": 99}, {"method": "deblur_by_magic"}])
def test_a_checkpoint_of_a_later_version_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    saved = content()
    saved["restore"] |= changed
    with pytest.raises(SettingError) as error:
        load_network(save(tmp_path / "a.ckpt", saved))
    assert (error.value.key, error.value.remedy) == ("ckpt_path", "update the package")


@pytest.mark.parametrize("missing", ["format", "method", "arguments"])
def test_a_checkpoint_without_a_fact_is_refused_by_name(missing: str, tmp_path: Path) -> None:
    saved = content()
    del saved["restore"][missing]
    with pytest.raises(SettingError) as error:
        reader.read(save(tmp_path / "a.ckpt", saved))
    assert error.value.key == "ckpt_path"


@functools.cache
def sound_file(zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content(), buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("zipped", [True, False])
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_give_a_model_or_a_value_error(zipped: bool, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.ckpt"
    saved = bytearray(sound_file(zipped))
    place = st.one_of(st.integers(0, 2999), st.integers(len(saved) - 2000, len(saved) - 1))
    for where, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=5)):
        saved[where] = value
    path.write_bytes(saved)
    try:
        load_network(path)
    except ValueError as error:
        assert str(path) in str(error)


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.write_text, (self.marker, "the file ran code")


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = save(tmp_path / "a.ckpt", content() | {"bomb": Bomb(marker)})
    with pytest.raises(SettingError) as error:
        reader.read(path)
    assert error.value.key == "ckpt_path"
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # the bomb was real
