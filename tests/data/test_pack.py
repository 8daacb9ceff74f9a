"""The packed form of training images: the same samples as from the files, kept through kills, refused when stale."""

import errno
import json
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from torch.utils.data import Dataset

from restore.data import packing
from restore.data.base import PairedData
from restore.data.datasets import Sample
from restore.data.deblur import DeblurData
from restore.data.pair import DataProblem
from restore.data.super_resolution import SuperResolutionData
from restore.data.translation import TranslationData
from restore.degradations.basic import Canny, GaussianNoise
from restore.image import reading
from restore.io import files
from restore.io.errors import SettingError
from tests.conftest import blurred_pair, photo

Make = Callable[..., PairedData]


def sharp(root: Path) -> Make:
    """Photos of two sizes and kinds; the small ones are made."""
    for k in range(4):
        photo(root / f"{k}.png", 40 + k, 50, seed=k)
    with Image.open(root / "0.png") as file:
        file.convert("L").save(root / "0.png")
    own: dict[str, Any] = {"patch_size": 16}
    return lambda **more: SuperResolutionData(root=str(root), scale=2, **own | more)


def prepared(root: Path) -> Make:
    for k in range(3):
        photo(root / "HR" / f"{k}.png", 40, 48, seed=k)
        photo(root / "LR_bicubic" / "X2" / f"{k}x2.png", 20, 24, seed=k)
    return lambda **more: SuperResolutionData(root=str(root / "HR"), scale=2, patch_size=16, **more)


def blurred(root: Path) -> Make:
    for k in range(4):
        blurred_pair(root / "train" / f"s{k // 2}", str(k), seed=k)
    return lambda **more: DeblurData(root=[str(root)], patch_size=16, validation=1, **more)


def blurred_here(root: Path) -> Make:
    for k in range(3):
        photo(root / f"{k}.png", seed=k)
    noise = [GaussianNoise(low=0.1, high=0.2)]
    return lambda **more: DeblurData(root=str(root), patch_size=16, degradations=noise, **more)


def translation(root: Path, own: dict[str, Any]) -> Make:
    """``own``: settings, which the caller of the result may replace."""
    return lambda **more: TranslationData(root=str(root), **{"patch_size": 16, "validation": 1} | own | more)


def side_by_side(root: Path) -> Make:
    for k in range(3):
        photo(root / f"{k}.png", 40, 100, seed=k)
    return translation(root, {"direction": "b_to_a"})


def resized_labels(root: Path) -> Make:
    for k in range(3):
        photo(root / "B" / f"{k}.png", 40, 48, seed=k)
        classes = np.random.default_rng(k).integers(0, 3, (5, 6), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        (root / "A").mkdir(exist_ok=True)
        Image.fromarray(classes).save(root / "A" / f"{k}.png")
    return translation(root, {"input_kind": "labels", "classes": 3, "one_hot": True, "in_channels": 3, "load_size": 30})


def contours(root: Path) -> Make:
    for k in range(3):
        photo(root / f"{k}.png", seed=k)
    return translation(root, {"degradations": [Canny()], "load_size": 30})


KINDS = (sharp, prepared, blurred, blurred_here, side_by_side, resized_labels, contours)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair is recorded as soon as it is written."""
    monkeypatch.setattr(packing, "RECORD_EVERY", -1.0)


def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded from now on."""
    read, names = reading.read, list[str]()

    def noting(path: Path, **more: Any) -> Any:
        names.append(path.name)
        return read(path, **more)

    monkeypatch.setattr(reading, "read", noting)
    return names


def lines(pack: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (pack / "pairs.jsonl").read_text().splitlines()]


def equal(first: list[Sample], second: list[Sample]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a["lq"], b["lq"])
        and torch.equal(a["gt"], b["gt"])
        and (a["name"], a["degradation"]) == (b["name"], b["degradation"])
        for a, b in zip(first, second, strict=True)
    )


def samples(crops: Dataset[Sample]) -> list[Sample]:
    return [crops[i] for i in range(12)]


@pytest.mark.parametrize("kind", KINDS)
def test_samples_from_a_pack_are_those_from_the_files(kind: Callable[[Path], Make], tmp_path: Path) -> None:
    files, new = (kind(tmp_path / "data")(**more) for more in ({"cache_gb": 0.0}, {"pack": str(tmp_path / "pack")}))
    assert files.prepare() == new.prepare()
    expected = samples(files.crops(12))
    assert equal(samples(new.crops(12)), expected)
    assert new.cache.kept_bytes == 0
    count, size = len(lines(tmp_path / "pack")), (tmp_path / "pack/images.bin").stat().st_size
    assert count == len(new.train_pairs)
    # written once more at another place: other times, the same content
    moved = kind(tmp_path / "moved")(pack=str(tmp_path / "pack"))
    assert moved.prepare()["training"] == files.prepare()["training"]
    assert moved.checked["training"].sizes == files.checked["training"].sizes
    assert moved.checked["training"].kinds == files.checked["training"].kinds
    assert (tmp_path / "pack/images.bin").stat().st_size == size
    assert len(lines(tmp_path / "pack")) == 2 * count
    shutil.rmtree(tmp_path / "moved")  # nothing can be decoded any more
    assert equal(samples(moved.crops(12)), expected)
    assert equal(samples(pickle.loads(pickle.dumps(moved.crops(12)))), expected)  # as to a worker that is spawned


def test_a_pack_of_files_that_have_not_changed_decodes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = sharp(tmp_path / "data")
    make(pack=str(tmp_path / "pack")).prepare()
    decoded = read_files(monkeypatch)
    make(pack=str(tmp_path / "pack"), validation=2).prepare()  # of fewer pairs
    assert decoded == ["2.png", "3.png"]  # those that are validated on
    photo(tmp_path / "data" / "4.png", seed=4)
    make(pack=str(tmp_path / "pack")).prepare()  # of more
    assert decoded[2:] == ["3.png", "4.png"]
    assert [line["key"][0] for line in lines(tmp_path / "pack")] == ["0", "1", "2", "3"]


def test_a_killed_packing_goes_on_after_its_last_whole_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    make, pack = sharp(tmp_path / "data"), tmp_path / "pack"
    whole = make(cache_gb=0.0)
    whole.prepare()
    with monkeypatch.context() as killed:
        write, written = packing._write_all, list[int]()

        def fail(file: Any, data: memoryview) -> None:
            written.append(len(data))
            if len(written) == 5:  # the third image's pixels, after two of pixels and record
                write(file, data[:100])
                raise KeyboardInterrupt
            write(file, data)

        killed.setattr(packing, "_write_all", fail)
        with pytest.raises(KeyboardInterrupt):
            make(pack=str(pack)).prepare()
    assert len(lines(pack)) == 2
    with open(pack / "pairs.jsonl", "a") as file:
        file.write('{"key": "half a li')  # as the kill of another moment leaves it
    decoded = read_files(monkeypatch)
    resumed = make(pack=str(pack))
    resumed.prepare()
    assert decoded == ["2.png", "3.png"]
    assert len(lines(pack)) == 3
    assert equal(samples(resumed.crops(12)), samples(whole.crops(12)))


def test_of_two_starts_at_once_one_packs_and_the_other_waits_for_it(tmp_path: Path) -> None:
    make, pack = sharp(tmp_path / "data"), tmp_path / "pack"
    pack.mkdir()
    both = [make(pack=str(pack)) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        with FileLock(pack / "lock"):
            waiting = [pool.submit(each.prepare) for each in both]
            assert not (pack / "images.bin").exists()
        first, second = (each.result() for each in waiting)
    assert first == second
    assert len(lines(pack)) == 3
    assert equal(*(samples(each.crops(12)) for each in both))


def test_a_pack_of_other_files_or_settings_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    make, pack = contours(tmp_path / "data"), tmp_path / "pack"
    make(pack=str(pack)).prepare()

    def refused(folder: Path = pack, make: Make = make, **more: Any) -> str:
        with pytest.raises(SettingError) as caught:
            make(pack=str(folder), **more).prepare()
        assert caught.value.key == "data.pack"
        return f"{caught.value.got}; {caught.value.expected}"

    assert "load_size=30" in refused(load_size=32)
    assert "sigma" in refused(degradations=[Canny(sigma=1.0)])
    assert "lock" not in refused(tmp_path / "data")  # the folder of the photos
    # of the same settings, and other names
    others = sharp(tmp_path / "others")
    others(pack=str(tmp_path / "sharp")).prepare()
    for k in range(4):
        (tmp_path / "others" / f"{k}.png").rename(tmp_path / "others" / f"new{k}.png")
    assert "3 pairs of other files" in refused(tmp_path / "sharp", others)
    with open(pack / "images.bin", "r+b") as file:
        file.truncate(100)
    assert "images.bin" in refused()
    (pack / "pairs.jsonl").write_text("{}\n")
    assert "pairs.jsonl" in refused()
    (pack / "pack.json").write_text('{"format": 0, "recipe": {}}')
    assert "format" in refused()


def test_a_changed_file_is_named_and_a_missing_one_is_the_data_s_problem(tmp_path: Path) -> None:
    make, pack = prepared(tmp_path / "data"), tmp_path / "pack"
    make(pack=str(pack)).prepare()
    small = tmp_path / "data" / "LR_bicubic" / "X2" / "1x2.png"
    photo(small, 20, 24, seed=9)
    with pytest.raises(SettingError) as caught:
        make(pack=str(pack)).prepare()
    assert (caught.value.key, "1x2.png" in str(caught.value.got)) == ("data.pack", True)
    small.unlink()
    with pytest.raises(DataProblem, match="has no partner"):
        make(pack=str(pack)).prepare()


def test_bad_pairs_are_reported_together_and_the_others_are_packed(tmp_path: Path) -> None:
    make, pack = resized_labels(tmp_path / "data"), tmp_path / "pack"
    Image.fromarray(np.full((40, 48), 7, np.uint8)).save(tmp_path / "data" / "A" / "0.png")
    with pytest.raises(DataProblem) as caught:
        make(pack=str(pack)).prepare()
    assert (len(caught.value.problems), "index 7" in caught.value.problems[0]) == (1, True)
    assert len(lines(pack)) == 1
    sizes = sharp(tmp_path / "sharp")  # 40 to 42 px high, and one of 43 held out
    sizes(pack=str(tmp_path / "small")).prepare()
    larger = sizes(pack=str(tmp_path / "small"), patch_size=42)
    with pytest.raises(DataProblem, match="2 problems"):
        larger.prepare()


def test_a_full_disk_and_a_folder_that_cannot_be_written_end_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    make, pack = sharp(tmp_path / "data"), tmp_path / "pack"
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(SettingError, match="full after 1 of 3") as caught:
            make(pack=str(pack)).prepare()
        assert caught.value.key == "data.pack"

        def fail(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(packing, "_write_all", fail)
        with pytest.raises(SettingError, match="full after 0 of 2"):
            make(pack=str(pack)).prepare()
    make(pack=str(pack)).prepare()
    assert len(lines(pack)) == 3
    with pytest.raises(SettingError) as caught:
        make(pack="/proc/pack").prepare()
    assert caught.value.key == "data.pack"
    # all of it is there: nothing is written, and it may belong to somebody else
    monkeypatch.setattr(files, "refuse_unwritable", lambda *_, **__: pytest.fail("the pack is complete"))
    make(pack=str(pack)).prepare()
