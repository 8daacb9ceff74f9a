from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from restore.ops.resize import Edges, resize, resize_8bit

Array = NDArray[Any]
SETS = {"Set5": 5, "Set14": 14}


def kernel(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    if x <= 2:
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return 0.0


def outside(position: int, length: int, edges: Edges) -> int:
    if edges == "clamp":
        return min(max(position, 0), length - 1)
    while not 0 <= position < length:
        position = -1 - position if position < 0 else 2 * length - 1 - position
    return position


def reference_matrix(length: int, new_length: int, scale: float, edges: Edges) -> Any:
    matrix = scipy.sparse.lil_matrix((new_length, length))
    stretch = min(1.0, scale)
    for out in range(new_length):
        centre = (out + 0.5) / scale - 0.5
        reach = range(int(np.floor(centre - 2 / stretch)), int(np.ceil(centre + 2 / stretch)) + 1)
        weights = [kernel(stretch * (centre - k)) for k in reach]
        for k, weight in zip(reach, weights, strict=True):
            matrix[out, outside(k, length, edges)] += weight / sum(weights)
    return matrix.tocsr()


def reference(image: Array, scale: float, edges: Edges = "mirror") -> Array:
    height, width = image.shape
    tall = reference_matrix(height, int(np.ceil(height * scale)), scale, edges) @ image.astype(np.float64)
    wide = reference_matrix(width, int(np.ceil(width * scale)), scale, edges) @ tall.T
    return np.asarray(wide.T)


def picture(path: Path) -> Array:
    with Image.open(path) as file:
        return np.array(file)


def planes(pixels: Array) -> torch.Tensor:
    return torch.from_numpy(pixels if pixels.ndim == 3 else pixels[..., None]).permute(2, 0, 1)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("name", SETS)
def test_shrinking_gives_the_published_lr_files_bit_for_bit(name: str, scale: int, shared_data: Path) -> None:
    folder = shared_data / "benchmarks" / name
    files = sorted((folder / "LR_bicubic" / f"X{scale}").glob("*.png"))
    assert len(files) == SETS[name]
    for file in files:
        hr, lr = planes(picture(folder / "HR" / file.name)), planes(picture(file))
        height, width = (side // scale * scale for side in hr.shape[1:])
        shrunk = resize_8bit(hr[:, :height, :width], 1 / scale)
        assert shrunk.dtype == torch.uint8
        assert torch.equal(shrunk.expand(lr.shape), lr), file.name  # a grey picture's LR file holds it three times


def test_height_first_and_rounding_between_the_axes_matter(shared_data: Path) -> None:
    folder = shared_data / "benchmarks" / "Set5"
    hr, lr = planes(picture(folder / "HR" / "bird.png")), planes(picture(folder / "LR_bicubic" / "X2" / "bird.png"))
    width_first = resize_8bit(hr.transpose(1, 2), 0.5).transpose(1, 2)
    rounded_once = (resize(hr.double(), 0.5).clamp(0, 255) + 0.5).floor()
    assert 0.14 < float((width_first != lr).double().mean()) < 0.18
    assert 0.10 < float((rounded_once != lr).double().mean()) < 0.14


@pytest.mark.parametrize("edges", ["mirror", "clamp"])
@pytest.mark.parametrize("scale", [0.125, 0.25, 1 / 3, 0.5, 0.37, 0.9, 1, 1.25, 2, 2.6, 3, 4, 8])
def test_equals_a_reference_written_from_the_formula(scale: float, edges: Edges) -> None:
    image = np.random.default_rng(0).random((24, 48))
    got = resize(torch.from_numpy(image), scale, edges=edges).numpy()
    expected = reference(image, scale, edges)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 1e-13


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    scale=st.sampled_from([1 / 8, 1 / 4, 1 / 3, 1 / 2, 0.7, 1.3, 2.0, 3.0, 4.0]),
    edges=st.sampled_from(["mirror", "clamp"]),
)
def test_equals_the_reference_at_any_size(height: int, width: int, scale: float, edges: Edges) -> None:
    image = np.random.default_rng(height * 100 + width).random((height, width))
    got = resize(torch.from_numpy(image), scale, edges=edges, size=reference(image, scale).shape).numpy()
    assert np.abs(got - reference(image, scale, edges)).max() < 1e-12


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_enlarging_8_bit_rounds_after_each_axis(scale: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (9, 7), dtype=np.uint8)
    tall = reference_matrix(9, 9 * scale, scale, "mirror") @ image.astype(np.float64)
    tall = np.floor(np.clip(np.round(tall, 9), 0, 255) + 0.5)  # round(9): ties are ties in any order of summation
    wide = (reference_matrix(7, 7 * scale, scale, "mirror") @ tall.T).T
    expected = np.floor(np.clip(np.round(wide, 9), 0, 255) + 0.5)
    assert np.array_equal(resize_8bit(torch.from_numpy(image), scale).numpy(), expected)


def test_8_bit_overshoot_is_clipped_and_not_wrapped() -> None:
    step = torch.zeros(16, 16, dtype=torch.uint8)
    step[:, 8:] = 255
    enlarged = resize_8bit(step, 4)
    assert enlarged[0, :20].max() == 0
    assert enlarged[0, -20:].min() == 255
    assert resize(step.double(), 4).max() > 255  # floats keep it


@pytest.mark.parametrize(
    ("length", "scale", "expected"), [(7, 0.5, 4), (9, 1 / 3, 3), (10, 1 / 3, 4), (3, 1.5, 5), (1, 0.1, 1), (5, 3, 15)]
)
def test_the_new_side_is_rounded_up(length: int, scale: float, expected: int) -> None:
    assert resize(torch.zeros(length, length), scale).shape == (expected, expected)
    assert resize_8bit(torch.zeros(length, length, dtype=torch.uint8), scale).shape == (expected, expected)


@pytest.mark.parametrize("factor", [2, 3, 5, 7, 11, 13, 49])
def test_shrinking_by_a_whole_factor_divides_the_side_exactly(factor: int) -> None:
    for multiple in (1, 10, 1000):
        assert resize(torch.zeros(factor * multiple, 1), 1 / factor).shape == (multiple, 1)


def test_scale_one_changes_nothing() -> None:
    image = torch.rand(3, 7, 5, dtype=torch.float64)
    assert torch.equal(resize(image, 1), image)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    scale=st.floats(0.1, 8),
    level=st.integers(0, 255),
    edges=st.sampled_from(["mirror", "clamp"]),
)
def test_a_constant_image_stays_constant(height: int, width: int, scale: float, level: int, edges: Edges) -> None:
    flat = torch.full((height, width), level, dtype=torch.uint8)
    assert (resize_8bit(flat, scale, edges=edges) == level).all()
    assert (resize(flat.double(), scale, edges=edges) - level).abs().max() < 1e-9


@pytest.mark.parametrize("scale", [0.125, 0.5, 0.3, 1, 1.7, 2, 8])
def test_one_pixel_stays_that_pixel(scale: float) -> None:
    pixel = torch.tensor([10, 200, 255], dtype=torch.uint8).view(3, 1, 1)
    assert torch.equal(resize_8bit(pixel, scale).amax((1, 2)), pixel.flatten())
    assert torch.equal(resize_8bit(pixel, scale).amin((1, 2)), pixel.flatten())


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 4), columns=st.integers(1, 4), scale=st.sampled_from([1 / 3, 0.5, 2.0, 3.0, 1.4]))
def test_a_mirrored_image_gives_the_mirrored_result(rows: int, columns: int, scale: float) -> None:
    image = torch.rand(30 * rows, 30 * columns, dtype=torch.float64)  # sides that every scale turns into whole numbers
    assert (resize(image.flip(0, 1), scale) - resize(image, scale).flip(0, 1)).abs().max() < 1e-12


def test_every_leading_dimension_is_resized_alone() -> None:
    batch = torch.rand(2, 3, 9, 8, dtype=torch.float64)
    whole = resize(batch, 0.5)
    assert whole.shape == (2, 3, 5, 4)
    for n in range(2):
        for c in range(3):
            assert torch.equal(whole[n, c], resize(batch[n, c], 0.5))


def test_edges_differ_only_near_the_border() -> None:
    image = torch.rand(40, 40, dtype=torch.float64)
    difference = (resize(image, 0.5) - resize(image, 0.5, edges="clamp")).abs()
    assert difference.max() > 1e-3
    assert difference[2:-2, 2:-2].max() == 0


@pytest.mark.parametrize("edges", ["mirror", "clamp"])
@pytest.mark.parametrize("scale", [0.5, 0.4, 2.0])
def test_gradients_are_right(scale: float, edges: Edges) -> None:
    image = torch.rand(2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: resize(x, scale, edges=edges), image)


def test_a_call_in_inference_mode_does_not_spoil_later_gradients() -> None:
    with torch.inference_mode():
        resize(torch.rand(19, 29), 0.43)
    image = torch.rand(19, 29, requires_grad=True)
    resize(image, 0.43).sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_float_type_is_kept(dtype: torch.dtype) -> None:
    assert resize(torch.rand(4, 4, dtype=dtype), 2).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.uint16])
def test_8_bit_resize_refuses_other_types(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="uint8"):
        resize_8bit(torch.zeros(4, 4, dtype=dtype), 2)


def test_float_resize_refuses_whole_numbers() -> None:
    with pytest.raises(ValueError, match="resize"):
        resize(torch.full((4, 4), 200, dtype=torch.uint8), 2)


@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_a_scale_not_above_zero_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        resize(torch.zeros(4, 4), scale)
    with pytest.raises(ValueError, match="scale"):
        resize_8bit(torch.zeros(4, 4, dtype=torch.uint8), scale)
