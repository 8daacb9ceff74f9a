"""Files that ask for far more memory than they hold, refused before anything is unpacked or built."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from restore.checkpoints import model_card, reader
from restore.io.errors import SettingError
from restore.models import loading
from tests.checkpoints.test_model_card import SMALL, write


def packed(path: Path, unpacks_to: int) -> Path:
    """A checkpoint as torch writes it, whose pickle is compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a/data.pkl", "w") as record:
        for _ in range(unpacks_to // 1_000_000):
            record.write(bytes(1_000_000))
    return path


def test_a_compressed_checkpoint_is_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(*_: Any) -> None:
        raise AssertionError("unpacked")

    path = packed(tmp_path / "bomb.ckpt", 50_000_000)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(zipfile.ZipExtFile, "read", unpack)
    monkeypatch.setattr(torch, "load", unpack)
    for read in (reader.read, reader.bare_weights):
        with pytest.raises(SettingError) as refused:
            read(path)
        assert refused.value.key == "ckpt_path"


def test_records_that_share_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"a": torch.zeros(100_000)}, path)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        size = max(record.file_size for record in archive.infolist())
    wrong = data.replace(size.to_bytes(4, "little"), (10 * size).to_bytes(4, "little"))
    path.write_bytes(wrong)
    with pytest.raises(SettingError):
        reader.bare_weights(path)


def test_weights_of_torch_are_still_read(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(5.0)}, tmp_path / "a.pth")
    assert reader.bare_weights(tmp_path / "a.pth")["a"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("claim", [{"blocks": 100_000}, {"groups": 10**9}, {"channels": 10**6}, {"scale": 1e9}])
def test_a_card_that_claims_more_than_its_weights_is_refused_before_anything_is_built(
    claim: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.safetensors", arguments=SMALL | claim)

    def build(**_: Any) -> None:
        raise AssertionError("built")

    monkeypatch.setattr(loading, "_class", lambda path: _Signature(loading_class(path), build))
    for load in (loading.load_network, loading.load_model):
        with pytest.raises(SettingError) as refused:
            load(tmp_path / "a.safetensors")
        assert refused.value.key == "ckpt_path"
        assert next(iter(claim)) in str(refused.value)


loading_class = loading._class


class _Signature:
    """Has the signature of a class and builds something else."""

    def __init__(self, of: Any, build: Any) -> None:
        self.__wrapped__, self.build = of, build

    def __call__(self, **arguments: Any) -> Any:
        return self.build(**arguments)


def test_a_card_of_nested_brackets_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors")
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(SettingError):
        model_card.read(tmp_path / "a.safetensors", setting="ckpt_path")
    assert not model_card.is_card(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps({"format": 1}))
