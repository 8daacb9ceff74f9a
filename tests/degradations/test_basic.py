from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.data.datasets import degrade
from restore.degradations.basic import (
    Canny,
    Degradation,
    GaussianBlur,
    GaussianNoise,
    InterpolatedLowResolution,
    Jpeg,
    OneOf,
    RandomOrder,
    Sometimes,
)
from restore.degradations.motion_blur import MotionBlur
from restore.io.errors import SettingError
from restore.ops.resize import resize, resize_8bit


def chain() -> RandomOrder:
    return RandomOrder(steps=[GaussianBlur(), GaussianNoise(low=0.01), Jpeg()])


MAKERS: dict[str, Callable[[], Degradation]] = {
    "blur": GaussianBlur,
    "noise": lambda: GaussianNoise(low=0.01),
    "jpeg": Jpeg,
    "chain": chain,
}
KINDS = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def photo(height: int = 33, width: int = 47) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    planes = [0.5 + 0.4 * torch.sin(rows / 3 + c) * torch.cos(columns / 4 - c) for c in range(3)]
    texture = 0.1 * torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    return (torch.stack(planes) + texture).clamp(0, 1)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@KINDS
def test_the_same_generator_gives_the_same_image_and_words(make: Callable[[], Degradation]) -> None:
    first, second = make()(photo(), random(4)), make()(photo(), random(4))
    assert torch.equal(first[0], second[0])
    assert first[1] == second[1]


@KINDS
def test_another_generator_gives_another_image(make: Callable[[], Degradation]) -> None:
    first, second = make()(photo(), random(4)), make()(photo(), random(5))
    assert not torch.equal(first[0], second[0])
    assert first[1] != second[1]


@KINDS
def test_global_random_states_are_neither_read_nor_moved(make: Callable[[], Degradation]) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = make()(photo(), random(4))[0]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(make()(photo(), random(4))[0], first)


@KINDS
def test_the_input_is_not_changed_in_place(make: Callable[[], Degradation]) -> None:
    lq = photo()
    make()(lq, random())
    assert torch.equal(lq, photo())


@KINDS
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 1), (15, 33), (16, 16), (3, 50)])
def test_any_size_is_kept_within_the_range(make: Callable[[], Degradation], size: tuple[int, int]) -> None:
    for seed in range(3):
        out, _ = make()(photo(*size), random(seed))
        assert out.shape == (3, *size)
        assert out.dtype == torch.float32
        assert torch.isfinite(out).all()
        assert 0 <= float(out.min()) <= float(out.max()) <= 1


@KINDS
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_stay_within_the_range(make: Callable[[], Degradation], level: float) -> None:
    for seed in range(8):
        out, _ = make()(torch.full((3, 20, 20), level), random(seed))
        assert float(out.min()) >= 0
        assert float(out.max()) <= 1


def test_blur_equals_a_sum_over_neighbours() -> None:
    lq = torch.zeros(3, 41, 41)
    lq[:, 20, 20] = 1
    out, word = GaussianBlur(low=1.5, high=1.5)(lq, random())
    assert word == "blur 1.50 px"
    rows, columns = np.mgrid[-20:21, -20:21]
    expected = np.exp(-(rows**2 + columns**2) / (2 * 1.5**2))
    expected /= expected.sum()
    for plane in out.numpy():
        assert np.abs(plane - expected).max() < 2e-4  # the kernel ends somewhere beyond three sigma
    assert out.sum().item() == pytest.approx(3, abs=1e-4)


def test_noise_has_the_strength_it_says() -> None:
    flat = torch.full((3, 200, 200), 0.5)
    out, word = GaussianNoise(low=0.04, high=0.04)(flat, random())
    assert word == "noise 0.040"
    assert (out - flat).std().item() == pytest.approx(0.04, rel=0.02)
    assert abs((out - flat).mean().item()) < 1e-3


def test_lower_jpeg_quality_does_more_harm() -> None:
    lq = photo(64, 64)
    errors = [(Jpeg(low=q, high=q)(lq, random())[0] - lq).abs().mean().item() for q in (10, 50, 95)]
    assert errors[0] > errors[1] > errors[2] > 0
    assert Jpeg(low=10, high=10)(lq, random())[1] == "jpeg 10"


def test_draws_fill_the_range_and_no_more() -> None:
    dot = torch.zeros(3, 2, 2)
    qualities = {Jpeg(low=50, high=53)(dot, random(seed))[1] for seed in range(60)}
    assert qualities == {"jpeg 50", "jpeg 51", "jpeg 52", "jpeg 53"}
    noises = [float(GaussianNoise(low=0.1, high=0.3)(dot, random(seed))[1].split()[1]) for seed in range(60)]
    assert 0.1 <= min(noises) < 0.13
    assert 0.27 < max(noises) <= 0.3


def test_low_resolution_is_interpolated_from_8_bit_levels_and_not_rounded_again() -> None:
    gt = photo(36, 48).mul(255).round().to(torch.uint8)
    expected = resize(resize_8bit(gt, 1 / 3) / 255, 3)
    lq, word = degrade(gt, 1, [InterpolatedLowResolution(factors=[3])], random())
    assert torch.equal(lq, expected)
    assert word == "x3"


def test_low_resolution_is_interpolated_by_each_of_the_factors() -> None:
    words = {InterpolatedLowResolution(factors=[1.5, 2])(photo(), random(seed))[1] for seed in range(12)}
    assert words == {"x1.5", "x2"}


@pytest.mark.parametrize("factors", [[], [0.5]])
def test_bad_factors_of_low_resolution_are_named(factors: list[float]) -> None:
    with pytest.raises(SettingError) as error:
        InterpolatedLowResolution(factors=factors)
    assert error.value.key == "factors"


def test_random_order_visits_every_order_and_records_the_one_it_took() -> None:
    def times(factor: float) -> Degradation:
        return lambda lq, _: (lq * factor, f"times {factor:g}")

    def plus(term: float) -> Degradation:
        return lambda lq, _: (lq + term, f"plus {term:g}")

    steps = RandomOrder(steps=[times(2), plus(3), times(5)])
    seen = set()
    for seed in range(80):
        out, words = steps(torch.ones(3, 1, 1), random(seed))
        value = 1.0
        for word in words.split(", "):
            name, number = word.split()
            value = value * float(number) if name == "times" else value + float(number)
        assert out.unique().tolist() == [value]
        seen.add(words)
    assert len(seen) == 6


def test_random_order_of_nothing_changes_nothing() -> None:
    assert RandomOrder(steps=[])(photo(), random())[1] == ""
    assert torch.equal(RandomOrder(steps=[])(photo(), random())[0], photo())


def test_noise_is_grey_for_a_share_of_the_images() -> None:
    made = [GaussianNoise(low=0.1, grey=0.4, high=0.1)(torch.full((3, 4, 4), 0.5), random(k)) for k in range(100)]
    assert 25 < sum(word == "noise 0.100 grey" for _, word in made) < 55
    assert all(torch.equal(out[0], out[1]) == word.endswith("grey") for out, word in made)


def test_full_chroma_keeps_colours_that_half_of_it_smears() -> None:
    stripes = torch.zeros(3, 32, 32)
    stripes[0, :, ::2], stripes[2, :, 1::2] = 0.8, 0.8
    full, word = Jpeg(low=90, high=90, full_chroma=1)(stripes, random())
    half, _ = Jpeg(low=90, high=90)(stripes, random())
    assert word == "jpeg 90 4:4:4"
    assert 4 * (full - stripes).abs().mean() < (half - stripes).abs().mean()


def test_a_step_is_taken_for_a_share_of_the_images() -> None:
    step = Sometimes(share=0.3, steps=[Jpeg(low=10, high=10), GaussianNoise(low=0.1, high=0.1)])
    made = [step(photo(8, 8), random(k)) for k in range(200)]
    assert {word for _, word in made} == {"", "jpeg 10, noise 0.100"}
    assert 40 < sum(bool(word) for _, word in made) < 80
    assert all(torch.equal(out, photo(8, 8)) == (not word) for out, word in made)


def test_one_of_the_steps_is_taken_each_as_often_as_the_others() -> None:
    step = OneOf(steps=[Jpeg(low=quality, high=quality) for quality in (10, 50, 90)])
    words = [step(photo(8, 8), random(seed))[1] for seed in range(150)]
    assert min(words.count(f"jpeg {quality}") for quality in (10, 50, 90)) > 30
    with pytest.raises(SettingError):
        OneOf(steps=[])


def test_what_degrades_nothing_says_nothing_and_margins_reach_through() -> None:
    idle = Sometimes(share=0, steps=[Jpeg()])
    assert RandomOrder(steps=[idle, Jpeg(low=10, high=10), idle])(photo(), random())[1] == "jpeg 10"
    wide, wider = MotionBlur(high=10), MotionBlur(high=20)
    assert OneOf(steps=[wide, wider]).margin == wider.margin
    assert RandomOrder(steps=[Sometimes(share=0.5, steps=[wide]), wider]).margin == wide.margin + wider.margin


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        (GaussianBlur, 2, 1),
        (GaussianBlur, 0, 1),
        (GaussianBlur, 1, 100),
        (GaussianBlur, float("nan"), 1),
        (GaussianNoise, -0.1, 0.1),
        (GaussianNoise, 0, 1.5),
        (GaussianNoise, 0.2, 0.1),
        (Jpeg, 0, 50),
        (Jpeg, 40, 101),
        (Jpeg, 60, 40),
    ],
)
def test_a_bad_range_is_refused_with_both_ends(kind: Any, low: float, high: float) -> None:
    with pytest.raises(SettingError) as error:
        kind(low=low, high=high)
    assert (error.value.key, error.value.got) == ("low", f"{low} and high is {high}")


# --- contours ---


def test_canny_draws_one_pixel_lines_where_a_square_begins() -> None:
    picture = torch.zeros(3, 40, 48)
    picture[:, 9:31, 11:37] = 0.3  # a step between two pixels is a tie, which older kornia drops
    picture[:, 10:30, 12:36] = 0.8
    lines, word = Canny(sigma=1.0)(picture, random())
    assert lines.shape == (3, 40, 48)
    assert word == "canny 1 px"
    assert set(lines.unique().tolist()) == {0.0, 1.0}
    inside = torch.zeros(40, 48, dtype=torch.bool)
    inside[8:32, 10:38] = True
    inside[13:27, 15:33] = False
    assert (lines[0][~inside] == 0).all()
    assert (lines[0, 15:25].sum(1) == 2).all()  # left and right, one pixel each
    assert (lines[0, :, 20:28].sum(0) == 2).all()


@pytest.mark.parametrize("thickness", [2, 3])
def test_canny_draws_thicker_lines_black_on_white_where_asked_to(thickness: int) -> None:
    picture = torch.zeros(3, 40, 48)
    picture[:, 9:31, 11:37] = 0.3
    picture[:, 10:30, 12:36] = 0.8
    lines, _ = Canny(sigma=1.0, thickness=thickness, dark=True)(picture, random())
    assert lines.shape == (3, 40, 48)
    assert set(lines.unique().tolist()) == {0.0, 1.0}
    assert ((1 - lines)[0, 15:25].sum(1) == 2 * thickness).all()


def test_canny_is_the_same_for_every_draw_and_mirrors_nothing_in() -> None:
    first, second = Canny()(photo(), random(1))[0], Canny()(photo(), random(2))[0]
    assert torch.equal(first, second)
    assert Canny.is_fixed
    assert (Canny()(torch.full((3, 20, 20), 0.3), random())[0] == 0).all()
    assert Canny(low=0.05, high=0.1)(photo(), random())[0].sum() >= first.sum()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 1), (3, 50)])
def test_canny_takes_any_size(size: tuple[int, int]) -> None:
    assert Canny(sigma=4.0)(photo(*size), random())[0].shape == (3, *size)


@pytest.mark.parametrize(
    ("arguments", "key", "got"),
    [
        ({"sigma": 0.0}, "sigma", 0.0),
        ({"low": 0.3}, "low", "0.3 and high is 0.2"),
        ({"high": 5.0}, "low", "0.1 and high is 5.0"),
    ],
)
def test_canny_names_bad_thresholds(arguments: dict[str, Any], key: str, got: object) -> None:
    with pytest.raises(SettingError) as error:
        Canny(**arguments)
    assert (error.value.key, error.value.got) == (key, got)
