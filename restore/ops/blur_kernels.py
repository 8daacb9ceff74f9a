"""Known blur kernels: reading from files, centring, and application in downscaling.

A kernel is float64, (k, k'), sums to 1 and is *correlated* with the image, as in the field's files (Bell-Kligler,
Shocher, Irani, NeurIPS 2019). A centre of mass away from the middle does not change the blur but shifts the result, so
it is moved to the middle first. Lengths are pixels of the image before downscaling.
"""

import math
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from restore.ops.matfile import matrices

# raised by numpy's reader in tests on files with changed bytes
DAMAGE = (ValueError, TypeError, LookupError, ArithmeticError, OSError, SyntaxError, TokenError)
LARGEST = 101  # pixels; a larger array is more likely an image than a kernel


def read_kernel(path: str | Path, *, setting: str = "kernel") -> Tensor:
    """Read a kernel from a ``.npy`` file, or from a ``.mat`` file with a ``Kernel`` or exactly one matrix.

    Args:
        path: the file; pickled objects in it are never loaded.
        setting: name of the setting that named the file, for errors.

    Returns:
        float64, (k, k'), sums to 1; its centre is where it is in the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file does not hold one finite real matrix of at most 101 x 101 with a sum above 0.
    """
    path = Path(path)
    where = f"{setting}={path}"
    if not path.is_file():
        raise FileNotFoundError(f"{where} is not a file, expected a .npy or .mat file with a kernel; check the path")
    if path.suffix.lower() not in (".npy", ".mat"):
        raise ValueError(f"{where} ends in '{path.suffix}', expected .npy or .mat; save the kernel as one of these")
    array = _read_npy(path, where) if path.suffix.lower() == ".npy" else _read_mat(path, where)
    if array.dtype.kind not in "buif":
        raise ValueError(f"{where} holds {array.dtype}, expected real numbers; save the kernel as a float array")
    _check_shape(array.shape, where)
    return _checked(torch.from_numpy(array.astype(np.float64)), where)


def _read_npy(path: Path, where: str) -> NDArray[Any]:
    try:
        # memory-mapped, so that a false size in the header is refused instead of allocated; objects are refused
        return np.lib.format.open_memmap(path, mode="r")
    except DAMAGE as error:
        raise ValueError(f"{where} is not a readable .npy file of numbers ({error}); save it again") from error


def _read_mat(path: Path, where: str) -> NDArray[Any]:
    try:
        found = matrices(path.read_bytes())
    except (ValueError, OSError) as error:
        raise ValueError(f"{where} is not a readable .mat file ({error}); save it again") from error
    if "Kernel" in found:
        return found["Kernel"]
    likely = [array for array in found.values() if array.ndim == 2 and array.size > 1]  # a plain number is 1 x 1 there
    if len(likely) != 1:
        names = ", ".join(sorted(found)) or "no numbers"
        raise ValueError(f"{where} holds {names}, expected a matrix named Kernel or exactly one matrix; rename it")
    return likely[0]


def _check_shape(shape: tuple[int, ...], where: str) -> None:
    if len(shape) != 2 or not 1 <= min(shape) <= max(shape) <= LARGEST:
        got = " x ".join(map(str, shape)) or "a single number"
        raise ValueError(
            f"{where} is {got}, expected a matrix of at most {LARGEST} x {LARGEST}; crop or reshape the kernel"
        )


def _checked(kernel: Tensor, where: str = "the kernel") -> Tensor:
    """Convert to float64 with sum 1; refuse invalid kernels."""
    _check_shape(tuple(kernel.shape), where)
    if kernel.is_complex():
        raise ValueError(f"{where} is complex, expected real numbers; take its real part")
    kernel = kernel.detach().double()
    if not kernel.isfinite().all():
        raise ValueError(f"{where} holds NaN or infinity, expected finite numbers; compute it again")
    largest = float(kernel.abs().max())
    kernel = kernel / largest if largest else kernel  # sums of huge or tiny numbers would overflow or underflow
    total, size = float(kernel.sum()), float(kernel.abs().sum())
    if total <= 1e-6 * size:
        raise ValueError(f"{where} sums to {total * largest:.3g}, expected more than 0; a blur keeps the brightness")
    return kernel / total


def centre_of_mass(kernel: Tensor) -> tuple[float, float]:
    """(row, column) of a (k, k') kernel that sums to 1; (0, 0) is its first sample."""
    rows, columns = (torch.arange(side, dtype=torch.float64, device=kernel.device) for side in kernel.shape)
    return float(kernel.sum(1) @ rows), float(kernel.sum(0) @ columns)


def widths(kernel: Tensor) -> tuple[float, float]:
    """Standard deviations of a kernel (k, k') along its long and short axes, in pixels before downscaling."""
    kernel = _checked(kernel).cpu()
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in kernel.shape)
    row, column = centre_of_mass(kernel)
    y, x = (rows - row)[:, None], (columns - column)[None, :]
    yy, xx, xy = (float((kernel * product).sum()) for product in (y * y, x * x, y * x))
    middle, spread = (yy + xx) / 2, math.hypot((yy - xx) / 2, xy)
    return math.sqrt(max(0.0, middle + spread)), math.sqrt(max(0.0, middle - spread))


def centred(kernel: Tensor) -> Tensor:
    """The same blur with its centre of mass in the middle of an odd-sized array, with subpixel accuracy.

    The array grows as far as needed, so nothing is cut off. Values between samples come from the polynomial through six
    neighbours, which preserves all moments up to the fifth and so the width; near sharp edges of a kernel they may be
    slightly negative.

    Args:
        kernel: real, (k, k'), any sum above 0.

    Returns:
        float64, (odd, odd), sums to 1.

    Raises:
        ValueError: the kernel is invalid, or negative values put its centre of mass outside the array.
    """
    return _in_the_middle(_checked(kernel), 0.0)


def _in_the_middle(kernel: Tensor, half: float) -> Tensor:
    """Move the centre of mass to the middle of an odd (``half`` 0) or even (``half`` 0.5) number of samples."""
    centre = centre_of_mass(kernel)
    if not all(-0.5 <= c <= side - 0.5 for c, side in zip(centre, kernel.shape, strict=True)):
        raise ValueError(
            f"the kernel's centre of mass is at {centre[0]:.1f}, {centre[1]:.1f}, outside its {kernel.shape[0]} x "
            f"{kernel.shape[1]} samples, expected inside; its negative values are too large"
        )
    # a tolerance, so that an offset of 1e-15 px does not enlarge the array
    target = [math.ceil(c - half - 1e-9) + half for c in centre]
    step = [0.0 if t - c < 1e-9 else t - c for t, c in zip(target, centre, strict=True)]
    taps = torch.outer(_fractional_step(step[0]), _fractional_step(step[1])).to(kernel)
    moved = F.conv2d(kernel[None, None], taps.flip(0, 1)[None, None], padding=5)[0, 0]
    moved = _around(_around(moved, target[0] + 2).T, target[1] + 2).T
    return moved.contiguous() / moved.sum()


def _fractional_step(step: float) -> Tensor:
    """Weights (6,) of the positions -2 to 3 that interpolate a sample at ``step``, 0 <= step < 1 (Lagrange)."""
    nodes = range(-2, 4)
    weights = [math.prod((step - other) / (node - other) for other in nodes if other != node) for node in nodes]
    return torch.tensor(weights, dtype=torch.float64)


def _around(kernel: Tensor, middle: float) -> Tensor:
    """Add rows, or remove empty ones, so that ``middle`` becomes the middle."""
    used = kernel.abs().amax(1).nonzero()
    first, last = int(used[0]), int(used[-1])
    reach = max(middle - first, last - middle)
    above, below = round(reach - middle), round(reach + middle) + 1 - len(kernel)
    return F.pad(kernel, (0, 0, above, below))


def shrink(image: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """Blur with a kernel and keep every ``scale``-th sample, on the grid of :func:`restore.ops.resize.resize`.

    Output sample j lies at (j + 0.5) * scale - 0.5, between two input samples if ``scale`` is even; in that case the
    kernel is shifted by half a pixel, once. Edges are mirrored. Differentiable in the image.

    Args:
        image: float, (..., C, H, W), any range.
        kernel: real, (k, k'); it is centred here, so its centre of mass may be anywhere.
        scale: integer, input side / output side.

    Returns:
        float, (..., C, ceil(H / scale), ceil(W / scale)), with the image's type and device.

    Raises:
        ValueError: the image is not float, the scale is below 1, or the kernel is invalid.
    """
    if not image.is_floating_point():
        raise ValueError(f"shrink: got {image.dtype}, expected a float image; divide 8 bit by 255")
    if scale < 1 or scale != int(scale):
        raise ValueError(f"shrink: scale is {scale}, expected a whole number of at least 1; use resize() for others")
    kernel = _in_the_middle(_checked(kernel), 0.0 if scale % 2 else 0.5).to(image)
    height, width = image.shape[-2:]
    rows = _window(height, kernel.shape[0], scale).to(image.device)
    columns = _window(width, kernel.shape[1], scale).to(image.device)
    padded = image[..., rows, :][..., columns].reshape(-1, 1, len(rows), len(columns))
    small = F.conv2d(padded, kernel[None, None], stride=scale)
    return small.view(*image.shape[:-2], *small.shape[-2:])


def _window(length: int, taps: int, scale: int) -> Tensor:
    """Input samples under each position of the kernel, mirrored outside 0 .. ``length`` - 1."""
    new_length = -(-length // scale)
    first = (scale - taps) // 2  # exact: both are odd or both even
    index = torch.arange(first, first + (new_length - 1) * scale + taps).remainder(2 * length)
    return torch.where(index < length, index, 2 * length - 1 - index)


def gaussian_kernel(sigma_1: float, sigma_2: float, angle: float, size: int) -> Tensor:
    """Anisotropic Gaussian, sampled around the middle of the array.

    Args:
        sigma_1: standard deviation along the axis that ``angle`` rotates, px.
        sigma_2: standard deviation across that axis, px.
        angle: radians, from the direction of rows (right) towards that of columns (down).
        size: side of the array, px.

    Returns:
        float64, (size, size), sums to 1.

    Raises:
        ValueError: a length is not above 0.
    """
    if not (0 < sigma_1 < math.inf and 0 < sigma_2 < math.inf and size >= 1):
        raise ValueError(
            f"gaussian_kernel: the sigmas are {sigma_1} and {sigma_2} and the size {size}, expected all above 0"
        )
    offset = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = offset[:, None], offset[None, :]
    along, across = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    exponent = -0.5 * ((along / sigma_1) ** 2 + (across / sigma_2) ** 2)
    return torch.softmax(exponent.flatten(), 0).view(size, size)  # not 0 / 0 even for tiny sigmas
