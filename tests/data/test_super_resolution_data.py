import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restore.data.checks import check_pairs
from restore.data.datasets import TrainingCrops, WholeImages
from restore.data.pairs import DataProblem, Pair, find_pairs, set_name
from restore.data.photos import EMBEDDED, embedded
from restore.data.super_resolution import SuperResolutionData
from restore.image.reading import read_rgb8
from restore.ops.resize import resize_8bit
from tests.conftest import photo


def crops(pairs: list[Pair], **changes: object) -> TrainingCrops:
    arguments: dict[str, object] = {"scale": 2, "patch_size": 16, "count": 100, "seed": 0} | changes
    return TrainingCrops(pairs, **arguments)  # type: ignore[arg-type]


def test_embedded_photos_are_files_of_the_installed_library() -> None:
    assert not set(EMBEDDED["photos_train"]) & set(EMBEDDED["photos_held_out"])
    for name in EMBEDDED:
        assert all(file.is_file() for file in embedded(name))


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


def test_set_names_are_folder_names(tmp_path: Path) -> None:
    assert set_name(f"{tmp_path}/Set5/") == "Set5"
    assert set_name("photos_held_out") == "photos_held_out"


def test_a_sample_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    pairs = [Pair(f"{k}", photo(tmp_path / f"{k}.png", seed=k)) for k in range(2)]
    one, again, other = crops(pairs), crops(pairs, count=7), crops(pairs, seed=1)
    for i in (5, 0, 3):
        assert torch.equal(one[i]["lq"], again[i]["lq"])
        assert one[i]["name"] == again[i]["name"]
    assert any(not torch.equal(one[i]["gt"], other[i]["gt"]) for i in range(4))
    of_one_image = [one[i]["gt"] for i in range(20) if one[i]["name"] == "0"]
    assert len({crop.numpy().tobytes() for crop in of_one_image}) > 5


def test_lq_is_the_eight_bit_shrink_of_the_crop(tmp_path: Path) -> None:
    sample = crops([Pair("a", photo(tmp_path / "a.png"))])[0]
    assert sample["gt"].shape == (3, 16, 16)
    shrunk = resize_8bit((sample["gt"] * 255).round().to(torch.uint8), 0.5)
    assert torch.equal(sample["lq"], shrunk / 255)


def test_prepared_crops_show_the_same_place(tmp_path: Path) -> None:
    gt = photo(tmp_path / "gt.png", 64, 80)
    # every small pixel is the mean of its 2x2 block: wherever the crop lies, averaging gt's crop gives lq's
    pixels = np.array(Image.open(gt)).astype(float)
    small = pixels.reshape(32, 2, 40, 2, 3).mean((1, 3)).round().astype(np.uint8)
    Image.fromarray(small).save(tmp_path / "lq.png")
    dataset = crops([Pair("a", gt, tmp_path / "lq.png")])
    for i in range(30):
        sample = dataset[i]
        means = torch.nn.functional.avg_pool2d(sample["gt"][None], 2)[0]
        assert (means - sample["lq"]).abs().max() < 0.6 / 255 + 1e-6


def test_whole_images_are_cut_to_the_scale_and_grey_keeps_one_channel(tmp_path: Path) -> None:
    colour = photo(tmp_path / "c.png", 41, 50)
    Image.open(photo(tmp_path / "t.png", 20, 20)).convert("L").save(tmp_path / "g.png")
    images = WholeImages([Pair("c", colour), Pair("g", tmp_path / "g.png")], scale=4)
    assert images[0]["gt"].shape == (3, 40, 48)
    assert images[0]["lq"].shape == (3, 10, 12)
    assert images[1]["gt"].shape == (1, 20, 20)
    assert images[1]["lq"].shape == (3, 5, 5)


def test_prepare_keeps_training_images_while_they_fit(tmp_path: Path) -> None:
    for k in range(4):
        photo(tmp_path / "s" / f"{k}.png", 30, 30, seed=k)
    gb = 2.5 * 30 * 30 * 3 / 2**30
    data = SuperResolutionData(root=str(tmp_path / "s"), scale=2, patch_size=16, validation=1, cache_gb=gb)
    fingerprints = data.prepare()
    assert {name: len(digest) for name, digest in fingerprints.items()} == {"training": 64, "s_held_out": 64}
    assert data.cache.kept_bytes == 2 * 30 * 30 * 3
    before = {pair.gt: data.cache.get(pair.gt, read_rgb8) for pair in data.train_pairs}
    copies = {path: pixels.clone() for path, pixels in before.items()}
    dataset = data.crops(30)
    for i in range(30):  # cut from the kept images, which stay as they are
        dataset[i]["lq"].zero_()
        dataset[i]["gt"].zero_()
    for path in before:
        path.unlink()
    there = 0
    for path, pixels in copies.items():
        with contextlib.suppress(FileNotFoundError):
            assert torch.equal(data.cache.get(path, read_rgb8), pixels)
            there += 1
    assert there == 2


def test_every_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(3):
        photo(tmp_path / f"{k}.png", seed=k)
    opened: list[Path] = []
    read = Path.read_bytes

    def counted(path: Path) -> bytes:
        opened.append(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    check_pairs(find_pairs(str(tmp_path), 2), 2, setting="data.root")
    assert sorted(opened) == [tmp_path / f"{k}.png" for k in range(3)]


def test_a_fingerprint_follows_content_and_names(tmp_path: Path) -> None:
    def fingerprint() -> str:
        return check_pairs(find_pairs(str(tmp_path / "s"), 2), 2, setting="data.root").fingerprint

    photo(tmp_path / "s" / "a.png")
    first = fingerprint()
    assert fingerprint() == first
    (tmp_path / "s" / "a.png").rename(tmp_path / "s" / "b.png")
    renamed = fingerprint()
    photo(tmp_path / "s" / "b.png", seed=1)
    assert len({first, renamed, fingerprint()}) == 3


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
