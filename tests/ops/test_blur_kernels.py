import math
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from restore.ops.blur_kernels import centred, gaussian_kernel, read_kernel, shrink
from restore.ops.resize import resize

Array = NDArray[Any]


def gaussian(shape: tuple[int, int], mean: tuple[float, float], covariance: Array) -> Array:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    offset = np.stack([rows - mean[0], columns - mean[1]], -1)
    values = np.exp(-0.5 * np.einsum("ija,ab,ijb->ij", offset, np.linalg.inv(covariance), offset))
    return np.asarray(values / values.sum())


def turned(sigma_1: float, sigma_2: float, angle: float) -> Array:
    turn = np.array([[math.sin(angle), math.cos(angle)], [math.cos(angle), -math.sin(angle)]])  # rows are y, then x
    return np.asarray(turn @ np.diag([sigma_1**2, sigma_2**2]) @ turn.T)


def covariance_of(kernel: Array) -> Array:
    offsets = np.argwhere(np.ones_like(kernel)) - scipy.ndimage.center_of_mass(kernel)
    return np.asarray((offsets * kernel.reshape(-1, 1)).T @ offsets)


def middle(kernel: Array) -> tuple[float, float]:
    return (kernel.shape[0] - 1) / 2, (kernel.shape[1] - 1) / 2


ASYMMETRIC = np.arange(1.0, 13.0).reshape(3, 4)


# --- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, ">f8", np.bool_])
def test_a_npy_file_is_read_and_brought_to_sum_1(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "kernel.NPY"
    with path.open("wb") as file:
        np.save(file, (ASYMMETRIC > 3 if dtype is np.bool_ else ASYMMETRIC).astype(dtype))
    kernel = read_kernel(str(path))
    assert kernel.dtype == torch.float64
    expected = np.load(path).astype(float)
    assert np.allclose(kernel.numpy(), expected / expected.sum())


@pytest.mark.parametrize("contents", [{"Kernel": 1}, {"k": 1}, {"Kernel": 1, "other": 2}, {"k": 1, "scale": 0}])
@pytest.mark.parametrize("compressed", [False, True])
def test_the_matrix_of_a_mat_file_is_found(tmp_path: Path, contents: dict[str, int], compressed: bool) -> None:
    values = [2.0, ASYMMETRIC, ASYMMETRIC.T]
    scipy.io.savemat(tmp_path / "k.mat", {key: values[n] for key, n in contents.items()}, do_compression=compressed)
    assert np.allclose(read_kernel(tmp_path / "k.mat").numpy(), ASYMMETRIC / ASYMMETRIC.sum())


def test_a_mat_file_of_another_byte_order_is_read(tmp_path: Path) -> None:
    def element(kind: int, contents: bytes) -> bytes:
        return struct.pack(">II", kind, len(contents)) + contents.ljust(-(-len(contents) // 8) * 8, b"\0")

    flags, shape = struct.pack(">II", 6, 0), struct.pack(">ii", 3, 4)
    parts = element(6, flags) + element(5, shape) + element(1, b"k") + element(9, ASYMMETRIC.T.astype(">f8").tobytes())
    (tmp_path / "k.mat").write_bytes(b"MATLAB".ljust(124) + b"\x01\x00MI" + element(14, parts))
    assert np.allclose(read_kernel(tmp_path / "k.mat").numpy(), ASYMMETRIC / ASYMMETRIC.sum())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.bool_, np.int64])
def test_mat_files_hold_every_kind_of_number(tmp_path: Path, dtype: Any) -> None:
    array = (ASYMMETRIC > 3).astype(dtype)
    scipy.io.savemat(tmp_path / "k.mat", {"k": array, "text": "abc", "cell": {"x": 1}})
    assert np.allclose(read_kernel(tmp_path / "k.mat").numpy(), array / array.sum())


def test_huge_and_tiny_numbers_are_brought_to_sum_1(tmp_path: Path) -> None:
    for factor in (1e-310, 1e307):
        np.save(tmp_path / "k.npy", ASYMMETRIC * factor)
        assert float(read_kernel(tmp_path / "k.npy").sum()) == pytest.approx(1)


BAD: dict[str, tuple[Array, str]] = {
    "a vector": (np.ones(5), "5, expected a matrix"),
    "a number": (np.array(1.0), "a single number, expected a matrix"),
    "a colour image": (np.ones((5, 5, 3)), "5 x 5 x 3, expected a matrix"),
    "too large": (np.ones((3, 102)), "3 x 102, expected .* at most 101 x 101"),
    "empty": (np.ones((0, 4)), "0 x 4, expected"),
    "nan": (np.array([[1.0, np.nan]]), "NaN or infinity"),
    "infinite": (np.array([[1.0, np.inf]]), "NaN or infinity"),
    "dark": (np.zeros((3, 3)), "sums to 0, expected more than 0"),
    "negative": (-np.ones((3, 3)), "sums to -9, expected more than 0"),
    "an edge filter": (np.array([[1.0, -1.0]]), "sums to 0, expected more than 0"),
    "complex": (np.ones((3, 3), dtype=complex), "complex128, expected real"),
    "text": (np.array([["a", "b"]]), "<U1, expected real"),
}


@pytest.mark.parametrize(("array", "words"), BAD.values(), ids=BAD)
def test_a_file_without_a_kernel_is_refused(tmp_path: Path, array: Array, words: str) -> None:
    np.save(tmp_path / "k.npy", array)
    with pytest.raises(ValueError, match=rf"^model\.kernel=.*k\.npy .*{words}"):
        read_kernel(tmp_path / "k.npy", setting="model.kernel")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    for name in ("none.npy", "folder.npy"):
        with pytest.raises(FileNotFoundError, match=f"kernel=.*{name} is not a file"):
            read_kernel(tmp_path / name)


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"ends in '.png', expected .npy or .mat"):
        read_kernel(tmp_path / "k.png")


@pytest.mark.parametrize("suffix", [".npy", ".mat"])
def test_damaged_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"k{suffix}"
    if suffix == ".npy":
        np.save(path, ASYMMETRIC)
    else:
        scipy.io.savemat(path, {"k": ASYMMETRIC}, do_compression=True)
    whole = path.read_bytes()
    for damaged in (b"", b"no array at all", whole[:40], whole[: len(whole) // 2], whole[:-20]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="not a readable"):
            read_kernel(path)


@pytest.mark.parametrize("kind", ["npy", "mat", "compressed"])
def test_a_changed_byte_is_refused_or_read_but_never_another_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("k.npy" if kind == "npy" else "k.mat")
    if kind == "npy":
        np.save(path, ASYMMETRIC)
    else:
        scipy.io.savemat(path, {"k": ASYMMETRIC}, do_compression=kind == "compressed")
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for position in range(len(whole)):
        broken = bytearray(whole)
        broken[position] ^= int(random.integers(1, 256))
        path.write_bytes(broken)
        try:
            assert read_kernel(path).isfinite().all()
        except ValueError as error:
            assert str(path) in str(error)


class Trap:
    def __reduce__(self) -> Any:
        return os.mkdir, ("trapped",)


def test_a_pickle_in_a_file_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "k.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="not a readable"):
        read_kernel(tmp_path / "k.npy")
    np.array([[Trap()]], dtype=object).dump(tmp_path / "bare.npy")
    with pytest.raises(ValueError, match="not a readable"):
        read_kernel(tmp_path / "bare.npy")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("contents", "names"),
    [({"a": ASYMMETRIC, "b": ASYMMETRIC}, "a, b"), ({"s": {"x": 1}, "t": "text"}, "no numbers"), ({}, "no numbers")],
)
def test_a_mat_file_without_a_clear_choice_is_refused(tmp_path: Path, contents: dict[str, Any], names: str) -> None:
    scipy.io.savemat(tmp_path / "k.mat", contents)
    with pytest.raises(ValueError, match=f"holds {names}, expected a matrix named Kernel"):
        read_kernel(tmp_path / "k.mat")


def test_a_mat_file_of_version_7_3_is_refused_with_the_remedy(tmp_path: Path) -> None:
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "k.mat").write_bytes(header + b"\x89HDF\r\n\x1a\n" + bytes(500))
    with pytest.raises(ValueError, match="save it with -v7"):
        read_kernel(tmp_path / "k.mat")


# --- centring ----------------------------------------------------------------------------------------------------

WIDTHS = {"sigma_1": st.floats(1, 3), "sigma_2": st.floats(1, 3), "angle": st.floats(0, math.pi)}


@settings(max_examples=50, deadline=None)
@given(row=st.floats(16, 20), column=st.floats(16, 19), **WIDTHS)
def test_a_displaced_gaussian_is_centred(
    row: float, column: float, sigma_1: float, sigma_2: float, angle: float
) -> None:
    covariance = turned(sigma_1, sigma_2, angle)
    kernel = gaussian((37, 36), (row, column), covariance)
    result = centred(torch.from_numpy(kernel))
    assert result.dtype == torch.float64
    assert all(side % 2 for side in result.shape)
    assert float(result.sum()) == pytest.approx(1, abs=1e-12)
    got = scipy.ndimage.center_of_mass(result.numpy())
    assert np.abs(np.subtract(got, middle(result.numpy()))).max() < 1e-9
    assert np.abs(covariance_of(result.numpy()) - covariance_of(kernel)).max() < 1e-9
    expected = gaussian((result.shape[0], result.shape[1]), middle(result.numpy()), covariance)
    assert np.abs(result.numpy() - expected).max() < 0.06 * expected.max()  # 0.056 at 1 px, half a pixel off


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_any_array_is_centred_and_nothing_is_cut_off(height: int, width: int, seed: int) -> None:
    kernel = np.random.default_rng(seed).random((height, width)) ** 4  # tightly cropped: no empty rim
    result = centred(torch.from_numpy(kernel)).numpy()
    assert np.abs(np.subtract(scipy.ndimage.center_of_mass(result), middle(result))).max() < 1e-9
    assert np.abs(covariance_of(result) - covariance_of(kernel / kernel.sum())).max() < 1e-9
    again = centred(torch.from_numpy(result)).numpy()
    assert again.shape == result.shape
    assert np.abs(again - result).max() < 1e-12


def test_a_whole_pixel_only_moves_the_samples() -> None:
    kernel = np.zeros((9, 8))
    kernel[1:4, 2:5] = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert np.abs(centred(torch.from_numpy(kernel)).numpy() - kernel[1:4, 2:5] / 16).max() < 1e-12


@pytest.mark.parametrize("kernel", [torch.ones(2, 2, 2), torch.zeros(3, 3), torch.full((2, 2), math.nan)])
def test_what_is_no_kernel_is_not_centred(kernel: Tensor) -> None:
    with pytest.raises(ValueError, match=r"the kernel .* expected"):
        centred(kernel)


def test_a_centre_outside_the_array_is_refused() -> None:
    with pytest.raises(ValueError, match=r"centre of mass is at 0.0, -9.0, outside"):
        centred(torch.tensor([[1, -0.9]]))


# --- shrinking ---------------------------------------------------------------------------------------------------


def cubic(x: Array) -> Array:
    """Keys' kernel as a sum of one-sided powers: fourth differences of |x|^3 and |x|."""
    x = np.abs(x)
    return np.where(x < 1, 1 - x**2 * (5 - 3 * x) / 2, np.where(x < 2, (2 - x) ** 2 * (1 - x) / 2, 0.0))


def bicubic_kernel(size: int, scale: int) -> Tensor:
    taps = cubic((np.arange(size) - (size - 1) / 2) / scale)
    return torch.from_numpy(np.outer(taps, taps))


def waves(height: int, width: int) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    return torch.stack([torch.sin(rows / 5 + c) * torch.cos(columns / 6 - rows / 9 + c) for c in range(3)])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_bicubic_kernel_gives_the_bicubic_shrink(scale: int) -> None:
    image = torch.rand(2, 3, 50, 61, dtype=torch.float64)
    # sampled where the output's positions need it, so nothing is between samples and rounding alone remains
    kernel = bicubic_kernel(4 * scale + scale % 2, scale)
    assert (shrink(image, kernel, scale) - resize(image, 1 / scale)).abs().max() < 1e-13


@pytest.mark.parametrize(("scale", "tolerance"), [(2, 2e-3), (4, 5e-4)])
def test_a_kernel_sampled_on_whole_pixels_is_moved_by_half_a_pixel(scale: int, tolerance: float) -> None:
    # the cubic kernel is not smooth at 0, 1 and 2 samples of the output, where six samples miss a little
    image = waves(48, 56)
    kernel = bicubic_kernel(4 * scale + 1, scale)
    assert (shrink(image, kernel, scale) - resize(image, 1 / scale)).abs().max() < tolerance


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("mean", [(10.0, 10.0), (12.3, 8.6)])
def test_equals_a_blur_on_a_fine_grid(scale: int, mean: tuple[float, float]) -> None:
    """The image is known between its samples, so it can be averaged under a Gaussian drawn four times finer."""
    covariance = turned(2.0, 1.2, 0.5)
    fine = gaussian((101, 101), (50, 50), 16 * covariance)
    small = shrink(waves(60, 72), torch.from_numpy(gaussian((23, 23), mean, covariance)), scale)
    for j, i in ((60 // scale // 2, 72 // scale // 2), (60 // scale // 2 - 1, 72 // scale // 2 + 2)):
        row, column = (j + 0.5) * scale - 0.5, (i + 0.5) * scale - 0.5
        rows, columns = np.mgrid[-50:51, -50:51] / 4
        rows, columns = rows + row, columns + column
        values = [np.sin(rows / 5 + c) * np.cos(columns / 6 - rows / 9 + c) for c in range(3)]
        expected = [float((fine * value).sum()) for value in values]
        assert np.abs(small[:, j, i].numpy() - expected).max() < 2e-4


@settings(max_examples=40, deadline=None)
@given(row=st.floats(20, 40), column=st.floats(20, 40), scale=st.sampled_from([1, 2, 3, 4, 5]), **WIDTHS)
def test_nothing_is_displaced(
    row: float, column: float, scale: int, sigma_1: float, sigma_2: float, angle: float
) -> None:
    blob = gaussian((60, 60), (row, column), np.eye(2) * 9)
    kernel = torch.from_numpy(gaussian((17, 19), (7.6, 9.2), turned(sigma_1, sigma_2, angle)))
    small = shrink(torch.from_numpy(blob)[None], kernel, scale)[0].numpy()
    expected = np.add(scipy.ndimage.center_of_mass(blob), 0.5) / scale - 0.5
    assert np.abs(np.subtract(scipy.ndimage.center_of_mass(small), expected)).max() < 2e-3


def test_the_kernel_is_correlated_and_not_convolved() -> None:
    kernel = np.array([[0, 0, 0, 0, 0], [0, 0, 0, 3.0, 1], [0, 0, 0, 0, 0]])
    kernel[1, 0] = 5 / 2  # centre of mass in the middle: 5/2 * 2 = 3 * 1 + 1 * 2
    image = np.random.default_rng(0).random((12, 15))
    expected = scipy.ndimage.correlate(image, kernel / kernel.sum(), mode="reflect")  # scipy's word for mirrored edges
    small = shrink(torch.from_numpy(image)[None], torch.from_numpy(kernel), 3)[0].numpy()
    assert np.abs(small - expected[1::3, 1::3]).max() < 1e-12


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 30), width=st.integers(1, 30), scale=st.integers(1, 5), seed=st.integers(0, 9))
def test_a_constant_image_stays_constant_at_any_size(height: int, width: int, scale: int, seed: int) -> None:
    kernel = torch.from_numpy(np.random.default_rng(seed).random((7, 4)))
    small = shrink(torch.full((3, height, width), 0.7, dtype=torch.float64), kernel, scale)
    assert small.shape == (3, math.ceil(height / scale), math.ceil(width / scale))
    assert (small - 0.7).abs().max() < 1e-12


def test_a_kernel_of_one_sample_at_scale_1_changes_nothing() -> None:
    image = torch.rand(2, 3, 5, 4)
    assert torch.equal(shrink(image, torch.ones(1, 1), 1), image)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_float_type_is_kept_and_every_leading_dimension_is_shrunk_alone(dtype: torch.dtype) -> None:
    batch = torch.rand(2, 4, 3, 9, 8, dtype=dtype)
    kernel = gaussian_kernel(1.5, 0.8, 0.3, 9)
    small = shrink(batch, kernel, 2)
    assert small.dtype == dtype
    assert small.shape == (2, 4, 3, 5, 4)
    assert torch.allclose(small[1, 2], shrink(batch[1, 2], kernel, 2))


@pytest.mark.parametrize("scale", [2, 3])
def test_gradients_are_right(scale: int) -> None:
    image = torch.rand(1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: shrink(x, gaussian_kernel(1, 2, 0.3, 5), scale), image)


def test_shrink_refuses_whole_numbers_and_bad_scales() -> None:
    with pytest.raises(ValueError, match="uint8, expected a float image"):
        shrink(torch.zeros(3, 4, 4, dtype=torch.uint8), torch.ones(1, 1), 2)
    for scale in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"scale is {scale}, expected a whole number"):
            shrink(torch.zeros(3, 4, 4), torch.ones(1, 1), scale)  # type: ignore[arg-type]


# --- Gaussians ---------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(size=st.sampled_from([24, 25]), **WIDTHS)
def test_a_gaussian_has_its_widths_and_direction(size: int, sigma_1: float, sigma_2: float, angle: float) -> None:
    kernel = gaussian_kernel(sigma_1, sigma_2, angle, size)
    expected = gaussian((size, size), ((size - 1) / 2, (size - 1) / 2), turned(sigma_1, sigma_2, angle))
    assert np.abs(kernel.numpy() - expected).max() < 1e-12


def test_angle_0_lies_along_the_rows_and_a_tiny_sigma_is_one_sample() -> None:
    wide = gaussian_kernel(3, 1, 0, 15)
    assert wide[7, 10] > wide[10, 7]
    assert gaussian_kernel(1e-200, 1e-200, 0.3, 3)[1, 1] == 1


@pytest.mark.parametrize(("sigmas", "size"), [((0, 1), 5), ((1, -1), 5), ((1, math.nan), 5), ((1, 1), 0)])
def test_a_gaussian_without_width_or_size_is_refused(sigmas: tuple[float, float], size: int) -> None:
    with pytest.raises(ValueError, match=r"gaussian_kernel: .*expected all above 0"):
        gaussian_kernel(*sigmas, 0, size)
