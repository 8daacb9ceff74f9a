from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from restore.ops.resize import Interpolation, pyramid, resize

Array = NDArray[Any]
INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
interpolations = pytest.mark.parametrize("interpolation", INTERPOLATIONS)


def pillow_half(plane: Array, interpolation: str) -> Array:
    """Pillow's float mode, which rounds to float32 alone."""
    height, width = plane.shape
    half = Image.fromarray(plane.astype(np.float32)).resize((width // 2, height // 2), PILLOW[interpolation])
    return np.asarray(half)


@interpolations
@pytest.mark.parametrize(("height", "width"), [(64, 48), (8, 128), (2, 2), (16, 4)])
def test_every_level_equals_pillows_resize(interpolation: Interpolation, height: int, width: int) -> None:
    plane = np.random.default_rng(0).random((height, width)).astype(np.float32)
    levels = pyramid(torch.from_numpy(plane)[None], 2 if min(height, width) < 8 else 3, interpolation)
    for level in levels[1:]:
        plane = pillow_half(plane, interpolation)
        assert level.shape[1:] == plane.shape
        difference = np.abs(level[0].numpy() - plane).max()
        assert difference <= (0 if interpolation == "nearest" else 5e-7)  # of float32; seen over 20 images: 2.4e-7


@interpolations
def test_an_8_bit_photo_comes_out_as_pillows_up_to_its_rounding(interpolation: Interpolation) -> None:
    pixels = np.random.default_rng(2).integers(90, 166, (40, 56, 3), dtype=np.uint8)  # Pillow clips between its passes
    theirs = np.asarray(Image.fromarray(pixels).resize((28, 20), PILLOW[interpolation]))
    ours = pyramid(torch.from_numpy(pixels).permute(2, 0, 1).double(), 2, interpolation)[1]
    # it rounds after each of them
    assert np.abs(ours.permute(1, 2, 0).numpy() - theirs).max() <= 1.5


def test_bicubic_is_matlabs_away_from_the_border() -> None:
    image = torch.rand(3, 40, 36, dtype=torch.float64)
    difference = (pyramid(image, 2, "bicubic")[1] - resize(image, 0.5)).abs()
    assert difference[:, 2:-2, 2:-2].max() < 1e-14
    assert difference.max() > 1e-3  # at the border Pillow leaves out what MATLAB mirrors


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    levels=st.integers(1, 5),
    interpolation=st.sampled_from(INTERPOLATIONS),
)
def test_sides_are_halved_and_rounded_up_and_a_level_is_the_top_of_its_own_pyramid(
    height: int, width: int, levels: int, interpolation: Interpolation
) -> None:
    image = torch.rand(2, 1, height, width, dtype=torch.float64)
    found = pyramid(image, levels, interpolation)
    assert len(found) == levels
    assert found[0] is image
    for k, level in enumerate(found):
        assert level.shape == (2, 1, -(-height // 2**k), -(-width // 2**k))
        below = pyramid(level, levels - k, interpolation)
        assert all(torch.equal(a, b) for a, b in zip(below, found[k:], strict=True))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    value=st.floats(-2, 2),
    interpolation=st.sampled_from(INTERPOLATIONS),
)
def test_a_constant_image_stays_constant(height: int, width: int, value: float, interpolation: Interpolation) -> None:
    flat = torch.full((1, height, width), value, dtype=torch.float64)
    for level in pyramid(flat, 4, interpolation):
        assert (level - value).abs().max() < 1e-12


@interpolations
def test_an_odd_side_changes_only_what_its_last_row_reaches(interpolation: Interpolation) -> None:
    image = torch.rand(1, 41, 32, dtype=torch.float64)
    odd, even = pyramid(image, 2, interpolation)[1], pyramid(image[:, :40], 2, interpolation)[1]
    assert odd.shape == (1, 21, 16)
    assert (odd[:, :17] - even[:, :17]).abs().max() < 1e-14


@settings(deadline=None)
@given(levels=st.integers(1, 5), seed=st.integers(0, 999))
def test_nearest_makes_no_new_value(levels: int, seed: int) -> None:
    labels = torch.randint(0, 7, (1, 23, 37), generator=torch.Generator().manual_seed(seed)).float()
    for level in pyramid(labels, levels, "nearest"):
        assert set(level.flatten().tolist()) <= set(labels.flatten().tolist())


@interpolations
@pytest.mark.parametrize(("height", "width"), [(8, 6), (5, 7), (1, 3)])
def test_gradients_are_right(interpolation: Interpolation, height: int, width: int) -> None:
    image = torch.rand(1, 1, height, width, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pyramid(x, 3, interpolation)[-1], image)


@interpolations
def test_a_call_in_inference_mode_does_not_spoil_later_gradients(interpolation: Interpolation) -> None:
    with torch.inference_mode():
        pyramid(torch.rand(1, 22, 26), 2, interpolation)
    image = torch.rand(1, 22, 26, requires_grad=True)
    pyramid(image, 2, interpolation)[1].sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


@interpolations
def test_the_float_type_is_kept_and_leading_dimensions_are_resized_alone(interpolation: Interpolation) -> None:
    batch = torch.rand(2, 3, 12, 8)
    whole = pyramid(batch, 2, interpolation)[1]
    assert whole.dtype == torch.float32
    assert torch.equal(whole[1], pyramid(batch[1], 2, interpolation)[1])


@pytest.mark.parametrize(
    ("levels", "interpolation", "dtype", "part"),
    [
        (0, "nearest", torch.float32, "levels is 0"),
        (2, "cubic", torch.float32, "interpolation is cubic, expected nearest, bilinear, bicubic, lanczos"),
        (2, "nearest", torch.uint8, "torch.uint8, expected a float"),
    ],
)
def test_bad_arguments_are_named(levels: int, interpolation: Any, dtype: torch.dtype, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        pyramid(torch.zeros(1, 4, 4, dtype=dtype), levels, interpolation)
