"""The blur and the noise of an image, measured on it: `degradation=auto` of zero-shot super-resolution."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from restore.io.errors import SettingError
from restore.models.zero_shot.kernel_estimation import estimate_kernel
from restore.ops import blur_kernels, damage

# Measured on Kodak's photos, shrunk bicubically or by Gaussians by 2, 3 and 4: the larger deviation of the estimated
# kernel is at most 0.58 of the scale without blur, with noise or JPEG too; blur of 0.6 of the scale and more is above
# that, but JPEG can hide it. White noise of 0.01 and 0.02 is measured within a fifth, and as at most 0.003 without any.
LEAST_BLUR = 0.6
MOST_BLUR = 2.0  # wider estimates come from images without detail
LEAST_NOISE = 0.007
LEAST_BLOCKS = 0.08  # see restore.inference.auto
JPEG_NOISE = 0.02  # of 0.01, 0.02 and 0.04 the best on the two blurred and noisy photos of quality 75 tried


@dataclass(frozen=True)
class Degradation:
    """What an image has suffered.

    Attributes:
        kernel: float64 (odd, odd), see :func:`estimate_kernel`; None: it was shrunk without blur, or that is not clear.
        noise: standard deviation in [0, 1]; 0 where there is none to be seen.
    """

    kernel: Tensor | None
    noise: float

    @property
    def notes(self) -> dict[str, str]:
        """In words, for a person."""
        words = {"noise": f"{self.noise:.3f} of 1"} if self.noise else {}
        if self.kernel is None:
            return words
        long, short = blur_kernels.widths(self.kernel)
        return {"blur": f"standard deviations {long:.2f} and {short:.2f} px of the result"} | words

    def settings(self, model: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Those of the model and of the data with what was found."""
        kernel = None if self.kernel is None else self.kernel.tolist()
        return dict(model) | {"kernel": kernel}, dict(data) | {"noise": self.noise}


def measured(image: Tensor, scale: float) -> Degradation:
    """Measure an image.

    JPEG hides fine noise and makes the kernel narrower than it was; a network that learns to remove noise as large as
    JPEG's traces does not sharpen them.

    Args:
        image: float, (3, H, W), [0, 1].
        scale: how much finer the pixels are, in which the kernel is measured; other than 2, 3 and 4: no kernel.
    """
    noise, is_jpeg = damage.colour_noise(image), damage.blockiness(damage.grey_of(image)) > LEAST_BLOCKS
    noise = max(noise if noise > LEAST_NOISE else 0.0, JPEG_NOISE if is_jpeg else 0.0)
    return Degradation(_kernel(image, scale), noise)


def _kernel(image: Tensor, scale: float) -> Tensor | None:
    try:
        kernel = estimate_kernel(image, int(scale) if scale == int(scale) else 0, steps=0, seed=0)
    except SettingError:  # another scale, too small an image, or one without detail: nothing to be seen
        return None
    return kernel if LEAST_BLUR * scale < max(blur_kernels.widths(kernel)) < MOST_BLUR * scale else None
