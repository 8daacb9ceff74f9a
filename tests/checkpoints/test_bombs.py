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


@pytest.mark.parametrize("claim", [{"groups": 1000, "blocks": 1000}, {"channels": 1024}, {"blocks": 2}])
def test_numbers_of_a_card_multiplied_are_compared_with_its_weights_before_anything_is_built(
    claim: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.safetensors", arguments=SMALL | claim)
    built = count_parameters(monkeypatch)
    with pytest.raises(SettingError) as refused:
        loading.load_network(tmp_path / "a.safetensors")
    assert refused.value.key == "ckpt_path"
    assert built[0] < 100
    assert built[1] == 0


def count_parameters(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many parameters are made, and how many bytes they take."""
    built, make = [0, 0], torch.nn.Parameter.__new__

    def counted(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
        parameter = make(cls, data, requires_grad)
        built[0] += 1
        built[1] += 0 if parameter.is_meta else parameter.nbytes
        return parameter

    monkeypatch.setattr(torch.nn.Parameter, "__new__", counted)
    return built


def test_numbers_shown_a_billion_times_are_refused_before_they_are_copied(tmp_path: Path) -> None:
    one = torch.zeros(1)
    contents: dict[str, Any] = {
        "strides of 0": {"a": one.expand(10**9)},
        "overlapping windows": {"a": torch.zeros(20_000).as_strided((9000, 9000), (1, 1))},
        "the same tensor in many names": {str(k): one.expand(10**6) for k in range(1000)},
        "a sparse tensor": {"a": torch.sparse_coo_tensor(torch.zeros((1, 1), dtype=torch.long), one, (10**9,))},
        "a tensor without memory": {"a": torch.empty(10**9, device="meta")},
        "lists that name each other": {"state_dict": {"a": one}, "hyper_parameters": laughing(40)},
        "lists inside each other": {"state_dict": {"a": one}, "hyper_parameters": nested(200)},
    }
    for name, content in contents.items():
        path = tmp_path / "a.pth"
        torch.save(content, path)
        assert path.stat().st_size < 200_000, name
        with pytest.raises(SettingError) as refused:
            reader.bare_weights(path)
        assert refused.value.key == "ckpt_path"
    torch.save({"a": torch.arange(3.0).expand(1000, 3), "b": one}, path)  # no harm
    assert reader.bare_weights(path)["a"].shape == (1000, 3)


def laughing(times: int) -> list[Any]:
    """A list of two, both the same list of two, and so on."""
    inner: list[Any] = []
    for _ in range(times):
        inner = [inner, inner]
    return inner


def nested(times: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(times):
        inner = [inner]
    return inner


def test_a_card_of_nested_brackets_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors")
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(SettingError):
        model_card.read(tmp_path / "a.safetensors", setting="ckpt_path")
    assert not model_card.is_card(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps({"format": 1}))
