import contextlib
from pathlib import Path

import pytest
import torch

from restore.data.datasets import decode
from restore.data.hr_lr_folders import find_pairs
from restore.data.pair import DataProblem
from restore.data.super_resolution import SuperResolutionData
from tests.conftest import photo


def test_a_flat_folder_an_hr_folder_and_a_div2k_root_are_understood(tmp_path: Path) -> None:
    photo(tmp_path / "flat" / "b.png")
    photo(tmp_path / "flat" / "a.jpg")
    (tmp_path / "flat" / "notes.txt").write_text("not an image")
    assert [p.name for p in find_pairs(str(tmp_path / "flat"), 2)] == ["a", "b"]
    photo(tmp_path / "set" / "HR" / "a.png")
    photo(tmp_path / "set" / "LR_bicubic" / "X2" / "a.png", 20, 25)
    assert find_pairs(str(tmp_path / "set"), 2)[0].lq == tmp_path / "set" / "LR_bicubic" / "X2" / "a.png"
    assert find_pairs(str(tmp_path / "set"), 3)[0].lq is None
    for part in ("train", "valid"):
        photo(tmp_path / "D" / f"DIV2K_{part}_HR" / "0001.png")
        photo(tmp_path / "D" / f"DIV2K_{part}_LR_bicubic" / "X4" / "0001x4.png", 10, 12)
    data = SuperResolutionData(root=str(tmp_path / "D"), scale=4, patch_size=16, validation=None)
    assert data.train_pairs[0].lq is not None
    assert data.train_pairs[0].lq.parent.parent.name == "DIV2K_train_LR_bicubic"
    assert data.validation_names == ["DIV2K_valid_HR"]
    data.prepare()


def test_several_roots_are_one_set_and_some_images_can_be_held_out(tmp_path: Path) -> None:
    for k in range(3):
        photo(tmp_path / "one" / f"{k}.png", seed=k)
        photo(tmp_path / "two" / f"{k}.png", seed=k)
    roots = [str(tmp_path / "one"), str(tmp_path / "two")]
    data = SuperResolutionData(root=roots, scale=2, patch_size=16, validation=2, val_limit=1)
    assert len(data.train_pairs) == 4
    assert [p.name for p in data.validation_sets["one_held_out"]] == ["1"]


def test_a_start_says_which_images_are_held_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = []
    for k in ("b", "a", "c"):
        photo(tmp_path / "s" / f"{k}.png", 30, 30, seed=ord(k))
        if k == "b":
            continue
        data = SuperResolutionData(root=str(tmp_path / "s"), scale=2, patch_size=16, validation=1)
        with caplog.at_level("INFO", "restore.data.base"):
            data.prepare()
        said.append((data.held_out, caplog.messages[-1].rpartition(" ")[2]))
    assert said == [(["b"], "b"), (["c"], "c")]
    given = SuperResolutionData(root=str(tmp_path / "s"), scale=2, patch_size=16, validation=str(tmp_path / "s"))
    assert given.held_out == []


def test_prepare_keeps_training_images_while_they_fit(tmp_path: Path) -> None:
    for k in range(4):
        photo(tmp_path / "s" / f"{k}.png", 30, 30, seed=k)
    gb = 2.5 * 30 * 30 * 3 / 2**30
    data = SuperResolutionData(root=str(tmp_path / "s"), scale=2, patch_size=16, validation=1, cache_gb=gb)
    fingerprints = data.prepare()
    assert {name: len(digest) for name, digest in fingerprints.items()} == {"training": 64, "s_held_out": 64}
    assert data.cache.kept_bytes == 2 * 30 * 30 * 3
    before = [data.cache.get(pair, decode) for pair in data.train_pairs]
    copies = [pair.gt.clone() for pair in before]
    dataset = data.crops(30)
    for i in range(30):  # cut from the kept images, which stay as they are
        dataset[i]["lq"].zero_()
        dataset[i]["gt"].zero_()
    there = 0
    for pair, pixels in zip(data.train_pairs, copies, strict=True):
        pair.gt.unlink()
        with contextlib.suppress(FileNotFoundError):
            assert torch.equal(data.cache.get(pair, decode).gt, pixels)
            there += 1
    assert there == 2


def test_all_problems_of_a_set_come_in_one_error(tmp_path: Path) -> None:
    photo(tmp_path / "HR" / "good.png", 64, 64)
    photo(tmp_path / "HR" / "small.png", 10, 64)
    (tmp_path / "HR" / "text.png").write_text("hello")
    cut = photo(tmp_path / "HR" / "cut.png", 64, 64)
    cut.write_bytes(cut.read_bytes()[:500])
    data = SuperResolutionData(root=str(tmp_path), scale=2, patch_size=32, validation=1)
    with pytest.raises(DataProblem, match=r"3 problems") as caught:
        data.prepare()
    message = str(caught.value)
    assert "small.png: 64x10 px, expected sides of at least 32 px (data.patch_size)" in message
    assert "text.png: not a PNG" in message
    assert "cut.png: damaged or truncated" in message
