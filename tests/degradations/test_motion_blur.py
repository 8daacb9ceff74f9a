from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from restore.data.sampling import generator_of_sample
from restore.degradations.motion_blur import MotionBlur, draw_kernel, draw_path, move_object, shake, smooth_fields
from restore.io.errors import SettingError


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def texture(height: int = 40, width: int = 56) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))


def edges(image: Tensor) -> float:
    return float(image.diff(dim=-1).abs().mean() + image.diff(dim=-2).abs().mean())


@settings(deadline=None)
@given(length=st.floats(1, 80), seed=st.integers(0, 10_000))
def test_a_path_is_as_long_as_asked_for_and_has_its_centre_at_the_origin(length: float, seed: int) -> None:
    path = draw_path(length, random(seed))
    assert 0.4 * length < np.hypot(*np.diff(path, axis=0).T).sum() <= length
    assert np.abs(path.mean(0)).max() < 1e-9
    assert np.hypot(*path.T).max() <= length / 2 + 1e-9


@settings(max_examples=50, deadline=None)
@given(length=st.floats(1, 40), seed=st.integers(0, 10_000))
def test_a_kernel_sums_to_one_and_moves_nothing_on_average(length: float, seed: int) -> None:
    radius = MotionBlur(low=length, high=length).margin
    kernel = draw_kernel(draw_path(length, random(seed)), radius).double()
    assert kernel.shape == (2 * radius + 1, 2 * radius + 1)
    assert kernel.min() >= 0
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
    place = torch.arange(-radius, radius + 1, dtype=torch.float64)
    assert abs(float((kernel.sum(1) * place).sum())) < 1e-5
    assert abs(float((kernel.sum(0) * place).sum())) < 1e-5


def test_a_straight_path_of_a_few_pixels_is_a_box() -> None:
    path = np.stack([np.zeros(500), np.linspace(-2, 2, 500)], 1)
    kernel = draw_kernel(path, 3)
    assert kernel[3].tolist() == pytest.approx([0, 0.125, 0.25, 0.25, 0.25, 0.125, 0], abs=0.01)
    assert kernel.sum(1)[3] == pytest.approx(1)


def test_paths_are_straight_curved_and_shaken() -> None:
    bends = []
    for seed in range(60):
        steps = np.diff(draw_path(30, random(seed)), axis=0)
        bends.append(np.abs(np.diff(np.unwrap(np.arctan2(steps[:, 0], steps[:, 1])))))
    straight = [bend for bend in bends if bend.max() < 1e-6]
    curved = [bend for bend in bends if bend.max() > 1e-6 and bend.std() < 1e-6]
    assert min(len(straight), len(curved), 60 - len(straight) - len(curved)) > 8


def test_longer_paths_blur_more_and_everywhere_differently() -> None:
    image = texture(60, 60)
    blurred = [shake(image, length, 4, random(1)) for length in (1, 6, 30)]
    assert edges(image) > edges(blurred[0]) > edges(blurred[1]) > edges(blurred[2])
    varied = shake(texture(200, 200), 30, 4, random(2))
    parts = [edges(varied[:, y : y + 50, x : x + 50]) for y in range(0, 200, 50) for x in range(0, 200, 50)]
    assert max(parts) > 1.3 * min(parts)


def test_a_flat_image_stays_flat_but_for_noise() -> None:
    flat = torch.full((3, 30, 40), 0.6)
    out, _ = MotionBlur(noise=0)(flat, random())
    assert torch.allclose(out, flat, atol=1e-5)
    noisy, word = MotionBlur(noise=0.05)(flat, random(3))
    assert (noisy - flat).std().item() == pytest.approx(float(word.split()[-1]), rel=0.1)


def test_light_is_averaged_before_the_gamma() -> None:
    stripes = torch.zeros(3, 40, 40)
    stripes[:, :, ::2] = 1
    out, _ = MotionBlur(low=40, high=40, objects=0, noise=0, kernels=1)(stripes, random(5))
    assert out.mean() > 0.6  # half the light looks brighter than half the grey level


def test_an_object_moves_in_front_of_what_lies_behind() -> None:
    image = texture(80, 80)
    still = torch.zeros(3, 80, 80)
    out = move_object(still, image, 6, random(1))
    share = float((out.abs().sum(0) > 0.05).float().mean())
    assert 0.02 < share < 0.8
    unmoved = move_object(image, image, 1, random(1))
    assert edges(unmoved) <= edges(image)


def test_an_object_moves_along_a_path_of_its_own() -> None:
    short, long = (move_object(torch.zeros(3, 80, 80), texture(80, 80), length, random(1)) for length in (1, 30))
    assert edges(long) < 0.8 * edges(short)


def test_what_is_called_an_object_is_one() -> None:
    image, words = texture(80, 80), set()
    for seed in range(8):
        still, _ = MotionBlur(low=6, high=6, noise=0, objects=0)(image, random(seed))
        out, word = MotionBlur(low=6, high=6, noise=0, objects=2)(image, random(seed))
        assert torch.equal(out, still) == ("objects 0" in word)
        words.add(word.split(", ")[1])
    assert words == {"objects 0", "objects 1", "objects 2"}


def test_by_the_log_law_short_paths_are_as_frequent_as_long_ones() -> None:
    blur = MotionBlur(low=0, high=24, law="log", objects=0, kernels=1)
    words = [blur(texture(8, 8), random(seed))[1] for seed in range(200)]
    lengths = np.array([float(word.split()[1]) for word in words])
    assert lengths.min() < 0.2
    assert 20 < lengths.max() <= 24
    assert 0.3 < (lengths < 2.4).mean() < 0.46  # log(3.4) / log(25) = 0.38
    assert 0.3 < (lengths > 7.5).mean() < 0.46  # 1 - log(8.5) / log(25) = 0.34


def test_a_path_of_no_length_changes_nothing() -> None:
    image = texture()
    out, word = MotionBlur(low=0, high=0, noise=0)(image, random())
    assert word.startswith("motion 0.0 px")
    assert torch.allclose(out, image, atol=1e-5)


def test_a_share_of_pictures_is_untouched_and_the_others_are_blurred() -> None:
    image, blur = texture(), MotionBlur(untouched=0.25)
    made = [blur(image, random(seed)) for seed in range(200)]
    untouched = [out for out, word in made if word == "untouched"]
    assert 30 < len(untouched) < 70
    assert all(torch.equal(out, image) for out in untouched)
    assert not any(torch.equal(out, image) for out, word in made if word != "untouched")


def test_masks_are_smooth() -> None:
    fields = smooth_fields(3, (64, 48), random())
    assert fields.shape == (3, 64, 48)
    assert float(fields.diff(dim=-1).abs().max()) < 0.5


def test_a_sample_is_a_function_of_its_number() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = MotionBlur()(texture(), generator_of_sample(7, 3))
    assert torch.equal(torch.get_rng_state(), before)
    again = MotionBlur()(texture(), generator_of_sample(7, 3))
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1]
    other = MotionBlur()(texture(), generator_of_sample(7, 4))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 1), (15, 33)])
def test_any_size_is_kept_within_the_range_and_the_input_is_left_alone(size: tuple[int, int]) -> None:
    for seed in range(4):
        image = texture(*size)
        out, _ = MotionBlur()(image, random(seed))
        assert torch.equal(image, texture(*size))
        assert out.shape == (3, *size)
        assert out.dtype == torch.float32
        assert 0 <= float(out.min()) <= float(out.max()) <= 1


@pytest.mark.parametrize(
    ("arguments", "key", "got"),
    [
        ({"low": -1}, "low", "-1 and high is 24"),
        ({"law": "square"}, "law", "square"),
        ({"untouched": 1.5}, "untouched", 1.5),
        ({"high": 300}, "low", "2 and high is 300"),
        ({"noise": -1}, "noise", -1),
        ({"kernels": 0}, "kernels", 0),
        ({"objects": -1}, "objects", -1),
    ],
)
def test_bad_values_are_refused(arguments: dict[str, Any], key: str, got: object) -> None:
    with pytest.raises(SettingError) as error:
        MotionBlur(**arguments)
    assert (error.value.key, error.value.got) == (key, got)
