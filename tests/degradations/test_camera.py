import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.data.sampling import generator_of_sample
from restore.degradations.basic import Degradation
from restore.degradations.camera import AnisotropicBlur, Resample, Ringing, ShotNoise, low_pass
from restore.io.errors import SettingError

KINDS: list[Callable[[], Degradation]] = [AnisotropicBlur, Ringing, lambda: ShotNoise(low=0.01, grey=0.5), Resample]


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def texture(height: int = 40, width: int = 56) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))


def dot() -> Tensor:
    image = torch.zeros(3, 41, 41)
    image[:, 20, 20] = 1
    return image


@pytest.mark.parametrize("make", KINDS)
def test_a_sample_is_a_function_of_its_number_and_the_input_is_left_alone(make: Callable[[], Degradation]) -> None:
    image, before = texture(), torch.get_rng_state()
    first, word = make()(image, generator_of_sample(7, 3))
    again, same = make()(image, generator_of_sample(7, 3))
    other, _ = make()(image, generator_of_sample(7, 4))
    assert torch.equal(first, again)
    assert word == same
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(image, texture())


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 1), (15, 33)])
def test_any_size_is_kept_within_the_range(make: Callable[[], Degradation], size: tuple[int, int]) -> None:
    for seed in range(4):
        for image in (texture(*size), torch.zeros(3, *size), torch.ones(3, *size)):
            out, _ = make()(image, random(seed))
            assert out.shape == image.shape
            assert out.dtype == torch.float32
            assert 0 <= float(out.min()) <= float(out.max()) <= 1


def test_an_anisotropic_blur_has_the_widths_that_it_says() -> None:
    out, word = AnisotropicBlur(low=2, high=2, narrowest=0.4, linear=0)(dot(), random(3))
    along, across = (float(each) for each in word.split()[1].split("x"))
    place = torch.arange(-20.0, 21.0)
    spread = torch.stack([(out[0] * place[:, None] ** 2).sum(), (out[0] * place[None, :] ** 2).sum()])
    assert out[0].sum().item() == pytest.approx(1, abs=1e-3)
    assert spread.sum().item() == pytest.approx(along**2 + across**2, rel=0.03)
    assert 0.8 <= across < along == 2


def test_in_linear_light_a_blurred_bright_dot_is_brighter() -> None:
    linear, word = AnisotropicBlur(low=1, high=1, linear=1)(dot(), random())
    gamma, _ = AnisotropicBlur(low=1, high=1, linear=0)(dot(), random())
    assert word.endswith("linear")
    assert linear.sum() > 1.5 * gamma.sum()


def test_ringing_passes_what_is_slow_removes_what_is_fast_and_overshoots_at_an_edge() -> None:
    step = torch.full((3, 40, 40), 0.25)
    step[:, :, 20:] = 0.75
    out, word = Ringing(low=0.6, high=0.6)(step, random())
    assert word == "ringing 0.60"
    assert out[:, 20, 4].tolist() == pytest.approx([0.25] * 3, abs=0.02)
    assert out.max() > 0.77
    kernel, place = low_pass(0.5).double(), torch.arange(-7.0, 8.0, dtype=torch.float64)
    slow, fast = (float((kernel.sum(0) * (share * math.pi * place).cos()).sum()) for share in (0.2, 0.9))
    assert slow == pytest.approx(1, abs=0.1)
    assert abs(fast) < 0.1


def test_shot_noise_grows_with_the_light() -> None:
    half = torch.full((3, 200, 200), 0.5)
    out, word = ShotNoise(low=0.04, high=0.04, linear=0)(half, random())
    assert word == "shot noise 0.040"
    assert (out - half).std().item() == pytest.approx(0.04 * math.sqrt(0.5), rel=0.02)
    grey, word = ShotNoise(low=0.04, high=0.04, grey=1, linear=1)(half, random())
    assert word == "shot noise 0.040 grey linear"
    assert torch.equal(grey[0], grey[1])


def test_resampling_keeps_a_slope_where_it_is_and_loses_detail_only_through_a_shrink() -> None:
    slope = torch.linspace(0.1, 0.9, 60).expand(3, 48, 60)
    for seed in range(12):
        out, word = Resample(low=0.5, high=2)(slope, random(seed))
        assert (out - slope)[:, 6:-6, 6:-6].abs().max() < 0.011, word  # less than a pixel's step of 0.0136
    lost = [float((Resample(low=f, high=f)(texture(), random(1))[0] - texture()).abs().mean()) for f in (0.5, 2)]
    assert lost[0] > 0.1
    assert lost[1] < 0.7 * lost[0]


@pytest.mark.parametrize(
    ("kind", "arguments", "key"),
    [
        (AnisotropicBlur, {"low": 3.0}, "low"),
        (AnisotropicBlur, {"narrowest": 0.0}, "narrowest"),
        (Ringing, {"high": 1.5}, "low"),
        (ShotNoise, {"linear": 2.0}, "linear"),
        (Resample, {"low": 0.0}, "low"),
    ],
)
def test_a_bad_setting_is_named(kind: Any, arguments: dict[str, float], key: str) -> None:
    with pytest.raises(SettingError) as error:
        kind(**arguments)
    assert error.value.key == key
