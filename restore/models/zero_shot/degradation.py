"""Blur and noise of an image, estimated from it: `degradation=auto` of zero-shot super-resolution."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from restore.io.errors import SettingError
from restore.models.zero_shot.kernel_estimation import estimate_kernel
from restore.ops import blur_kernels, damage

# Measured on Kodak's photos, downscaled bicubically or with Gaussians by 2, 3 and 4. Without blur, the larger
# standard deviation of the estimated kernel is at most 0.58 of the scale, even with noise or JPEG; a blur of 0.6 of the
# scale or more is above that, but JPEG can hide it. White noise of 0.01 and 0.02 is measured to within 20 %, and the
# absence of noise as at most 0.003.
LEAST_BLUR = 0.6
MOST_BLUR = 2.0  # wider estimates come from images without detail
LEAST_NOISE = 0.007
LEAST_BLOCKS = 0.08  # see restore.inference.auto
JPEG_NOISE = 0.02  # best of 0.01, 0.02 and 0.04 on the two blurred and noisy photos of quality 75 that were tried


@dataclass(frozen=True)
class Degradation:
    """The estimated degradation of an image.

    Attributes:
        kernel: float64 (odd, odd), see :func:`estimate_kernel`; None: no blur, or none that is clear.
        noise: standard deviation in [0, 1]; 0 if none is visible.
    """

    kernel: Tensor | None
    noise: float

    @property
    def notes(self) -> dict[str, str]:
        """The degradation in words."""
        words = {"noise": f"{self.noise:.3f} of 1"} if self.noise else {}
        if self.kernel is None:
            return words
        long, short = blur_kernels.widths(self.kernel)
        return {"blur": f"standard deviations {long:.2f} and {short:.2f} px of the result"} | words

    def settings(self, model: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The settings of model and data, with the estimates added."""
        kernel = None if self.kernel is None else self.kernel.tolist()
        return dict(model) | {"kernel": kernel}, dict(data) | {"noise": self.noise}


def measured(image: Tensor, scale: float) -> Degradation:
    """Estimate the degradation of an image.

    JPEG hides fine noise and narrows the estimated kernel; a network that learns to remove noise as strong as JPEG's
    artefacts does not sharpen them.

    Args:
        image: float, (3, H, W), [0, 1].
        scale: ratio of the finer pixels, in which the kernel is measured; no kernel unless it is 2, 3 or 4.
    """
    noise, is_jpeg = damage.colour_noise(image), damage.blockiness(damage.grey_of(image)) > LEAST_BLOCKS
    noise = max(noise if noise > LEAST_NOISE else 0.0, JPEG_NOISE if is_jpeg else 0.0)
    return Degradation(_kernel(image, scale), noise)


def _kernel(image: Tensor, scale: float) -> Tensor | None:
    try:
        kernel = estimate_kernel(image, int(scale) if scale == int(scale) else 0, steps=0, seed=0)
    except SettingError:  # another scale, or an image that is too small or without detail
        return None
    return kernel if LEAST_BLUR * scale < max(blur_kernels.widths(kernel)) < MOST_BLUR * scale else None
