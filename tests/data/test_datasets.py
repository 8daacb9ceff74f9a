from pathlib import Path

import numpy as np
import torch
from PIL import Image

from restore.data import blur_sharp_folders
from restore.data.datasets import TrainingCrops, WholeImages
from restore.data.file_checks import check_pairs
from restore.data.hr_lr_folders import find_pairs
from restore.data.pair import Pair
from restore.ops.resize import resize_8bit
from tests.conftest import blurred_pair, gopro, photo


def crops(pairs: list[Pair], **changes: object) -> TrainingCrops:
    arguments: dict[str, object] = {"scale": 2, "patch_size": 16, "count": 100, "seed": 0} | changes
    return TrainingCrops(pairs, **arguments)  # type: ignore[arg-type]


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


def test_crops_of_a_pair_show_the_same_place_whole_and_unchanged(tmp_path: Path) -> None:
    gopro(tmp_path / "g", train=1)
    pairs = blur_sharp_folders.find_sequences(tmp_path / "g" / "train", setting="data.root")
    twins = [Pair(pair.name, pair.gt, pair.gt, pair.sequence) for pair in pairs]
    for i in range(10):
        sample = TrainingCrops(twins, scale=1, patch_size=20, count=10, seed=3)[i]
        assert torch.equal(sample["lq"], sample["gt"])
        assert sample["degradation"] == "prepared"


def test_a_degradation_sees_around_the_crop_what_it_asks_for(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 60, 50)
    seen: list[tuple[int, ...]] = []

    class Shift:
        margin = 8

        def __call__(self, lq: torch.Tensor, random: np.random.Generator) -> tuple[torch.Tensor, str]:
            seen.append(tuple(lq.shape[1:]))
            return lq.roll(8, -1), "shift"

    def crop(patch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        pairs = find_pairs(str(tmp_path), 1)
        sample = TrainingCrops(pairs, scale=1, patch_size=patch_size, count=1, seed=0, degradations=[Shift()])[0]
        return sample["lq"], sample["gt"]

    lq, gt = crop(20)
    assert seen.pop() == (36, 36)
    assert torch.equal(lq[:, :, 8:], gt[:, :, :-8])
    crop(47)
    assert seen.pop() == (49, 49)
    crop(50)
    assert seen.pop() == (50, 50)


def test_grey_pairs_and_odd_sizes_are_read(tmp_path: Path) -> None:
    blurred_pair(tmp_path / "s", "a", height=33, width=47)
    for part in ("blur", "sharp"):
        with Image.open(tmp_path / "s" / part / "a.png") as file:
            file.convert("L").save(tmp_path / "s" / part / "a.png")
    pairs = blur_sharp_folders.find_sequences(tmp_path / "s", setting="data.root")
    check_pairs(pairs, 1, setting="data.root")
    sample = WholeImages(pairs, scale=1)[0]
    assert sample["lq"].shape == (3, 33, 47)
    assert sample["gt"].shape == (1, 33, 47)
    crop = TrainingCrops(pairs, scale=1, patch_size=16, count=1, seed=0)[0]
    assert crop["lq"].shape == crop["gt"].shape == (3, 16, 16)
