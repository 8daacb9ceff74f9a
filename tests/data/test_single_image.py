import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from restore.data.internal_pairs import LEVELS, OFFSETS
from restore.data.single_image import SingleImageData
from restore.io.errors import SettingError
from restore.models.zero_shot.reconstruction import checked_part
from restore.ops.resize import resize


def image(height: int = 40, width: int = 52) -> Tensor:
    torch.manual_seed(0)
    return resize(torch.rand(3, 8, 8), 8, size=(height, width)).clamp(0, 1)


def data(father: Tensor, factor: float = 2.0, zoom: int = 1, **settings: object) -> SingleImageData:
    made = SingleImageData(image=father, scale=factor, **settings)  # type: ignore[arg-type]
    made.add([father], lambda x: resize(x, 1 / factor), factor, zoom=zoom, from_batch=0)
    return made


def test_fathers_are_smaller_sharp_copies_and_sons_their_enlarged_shrinks() -> None:
    levels = data(image()).pairs.pyramids[0].levels
    assert len(levels) == LEVELS * len(OFFSETS)
    assert torch.equal(levels[0].father, image())
    assert levels[-len(OFFSETS)].father.shape == (3, 20, 26)
    for father, son in levels:
        assert father.shape == son.shape
    assert torch.allclose(levels[0].son, resize(resize(image(), 0.5), 2))


@pytest.mark.parametrize("zoom", [1, 2])
def test_a_father_has_a_son_for_each_offset_but_that_of_the_reconstruction_error(zoom: int) -> None:
    father, trained = image(60, 60), []
    for down, right in OFFSETS:
        part = father[:, down:, right:]
        trained.append(resize(part, 0.5))
        found = data(father, zoom=zoom).pairs.pyramids[0].levels[len(trained) - 1].son
        cut = (part.shape[1] // zoom * zoom, part.shape[2] // zoom * zoom)
        expected = resize(part[:, : cut[0], : cut[1]], 0.5)
        assert torch.allclose(found, resize(expected, 2, size=cut) if zoom == 1 else expected)
    checked = resize(checked_part(father, 2)[0], 0.5)
    for son in trained:  # at the same places, away from the borders
        assert (son[:, 4:24, 4:24] - checked[:, 4:24, 4:24]).abs().max() > 1e-3
    assert torch.allclose(checked, resize(father[:, 1:, 1:], 0.5))


@pytest.mark.parametrize("size", [(15, 40), (40, 513)])
def test_very_small_and_large_fathers_have_one_son(size: tuple[int, int]) -> None:
    levels = data(image(*size)).pairs.pyramids[0].levels
    assert sum(level.father.shape[2] >= size[1] - 1 for level in levels) == 1


def test_larger_fathers_are_drawn_more_often_by_pixel_count() -> None:
    pairs = data(image(64, 64), patch_size=8).pairs
    drawn = [pairs._level(pairs.pyramids[0].levels, batch) for batch in range(4000)]
    pixels = torch.tensor([level.father[0].numel() for level in pairs.pyramids[0].levels], dtype=torch.float64)
    share = torch.bincount(torch.tensor(drawn), minlength=LEVELS * len(OFFSETS)) / 4000
    assert (share - pixels / pixels.sum()).abs().max() < 0.03


@pytest.mark.parametrize("factor", [2.0, 3**0.5, 2.5])
def test_a_crop_shows_the_same_place_in_father_and_son(factor: float) -> None:
    pairs = data(image(), factor, patch_size=16).pairs
    for i in range(30):
        sample = pairs[i]
        assert sample["lq"].shape == sample["gt"].shape == (3, 16, 16)
        assert (sample["lq"] - sample["gt"]).abs().mean() < 0.05  # a smooth image: another place is farther away


@pytest.mark.parametrize("zoom", [2, 3, 4])
def test_sons_that_are_not_enlarged_show_the_same_place_as_their_fathers(zoom: int) -> None:
    pairs = data(image(61, 83), float(zoom), zoom, patch_size=25).pairs
    side = 25 // zoom
    for i in range(30):
        sample = pairs[i]
        assert sample["lq"].shape == (3, side, side)
        assert sample["gt"].shape == (3, zoom * side, zoom * side)
        assert (resize(sample["gt"], 1 / zoom) - sample["lq"]).abs().mean() < 0.02


def test_noise_on_sons_that_are_not_enlarged_is_white() -> None:
    clean, noisy = (data(image(80, 80), zoom=2, patch_size=64, noise=noise).pairs for noise in (0.0, 0.1))
    noise = noisy[0]["lq"] - clean[0]["lq"]
    assert 0.08 < noise.std() < 0.12
    assert (noise[..., 1:] * noise[..., :-1]).mean().abs() < 0.001


def test_a_sample_is_a_function_of_seed_and_number() -> None:
    first, again, other = (data(image(), patch_size=12, noise=0.01, seed=seed).pairs for seed in (3, 3, 4))
    assert all(torch.equal(first[i]["lq"], again[i]["lq"]) for i in (0, 5, 7))
    assert any(not torch.equal(first[i]["gt"], other[i]["gt"]) for i in range(5))


def test_all_eight_turns_come_up() -> None:
    ramp = torch.arange(25.0).view(1, 5, 5).expand(3, 5, 5) / 25
    pairs = data(ramp, patch_size=5).pairs
    pairs.pyramids[0].levels[1:] = []
    seen = {tuple(pairs[i]["gt"][0].flatten().tolist()) for i in range(200)}
    assert len(seen) == 8


def test_noise_is_on_the_sons_alone() -> None:
    clean, noisy = (data(image(), patch_size=32, noise=noise).pairs for noise in (0.0, 0.05))
    for i in range(5):
        assert torch.equal(clean[i]["gt"], noisy[i]["gt"])
        assert 0.01 < (clean[i]["lq"] - noisy[i]["lq"]).std() < 0.05


def test_new_fathers_hold_from_their_batch_on() -> None:
    made = data(image(), patch_size=8, batch_size=2)
    larger = torch.ones(3, 80, 104)
    made.add([larger], lambda x: resize(x, 0.5), 2.0, zoom=1, from_batch=3)
    assert all(made.pairs[i]["gt"].min() < 0.999 for i in range(6))
    assert all(made.pairs[i]["gt"].min() > 0.999 for i in range(6, 12))


@settings(max_examples=20, deadline=None)
@given(height=st.integers(3, 20), width=st.integers(3, 20), patch=st.integers(1, 40))
def test_any_size_gives_square_crops(height: int, width: int, patch: int) -> None:
    pairs = data(image(height, width), patch_size=patch, batch_size=2).pairs
    for batch in range(3):
        shapes = {tuple(pairs[2 * batch + k]["lq"].shape) for k in range(2)}
        assert len(shapes) == 1
        (shape,) = shapes
        assert shape[1] == shape[2] <= patch


@pytest.mark.parametrize(("setting", "value"), [("patch_size", 0), ("batch_size", 0), ("noise", -0.1), ("noise", 1.0)])
def test_bad_values_are_named(setting: str, value: float) -> None:
    with pytest.raises(SettingError) as error:
        SingleImageData(image=image(), **{setting: value})  # type: ignore[arg-type]
    assert (error.value.key, error.value.got) == (f"data.{setting}", value)


def test_a_file_that_is_no_image_is_named() -> None:
    with pytest.raises(SettingError) as error:
        SingleImageData(image="nowhere.png")
    assert (error.value.key, error.value.got) == ("data.image", "nowhere.png")
    assert "nowhere.png: no such file" in error.value.expected


def test_an_image_too_small_to_validate_on_is_refused_before_training() -> None:
    with pytest.raises(SettingError) as error:
        SingleImageData(image=image(16, 40)).prepare()
    assert (error.value.key, error.value.got) == ("data.image", "image of 40x16 px")
    assert "at least 17 px" in error.value.expected
