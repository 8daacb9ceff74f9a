"""``ckpt_path=auto``: of the weights in the package those that suit the image, by what it has suffered."""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from torch import Tensor

from restore.inference.restorer import Report, Restorer, as_lq
from restore.ops import damage

SEEN = 1024  # px of each side in the middle of an image that are looked at

# Above these an image is damaged. Measured on eight photos held out from training, shrunk by half: clean they reach
# 0.0021, 0.0111, 0.032 and 6.3; with noise from 0.02 on they start at 0.0206 of colour noise, with JPEG 50 at 0.15 of
# blockiness, blurred by 0.6 px and more at 15 of softness.
LIMITS: Mapping[str, float] = MappingProxyType(
    {"colour noise": 0.007, "grey noise": 0.014, "blockiness": 0.08, "softness": 10.0}
)
# In a small image these scatter more: no limit is below this, divided by the root of the number of pixels. The numbers
# are from experiments/super_resolution/limits.py, whose images have some 100 px a side at x4.
SCATTER: Mapping[str, float] = MappingProxyType({"grey noise": 2.0, "blockiness": 11.0})


def measured(lq: Tensor) -> dict[str, float]:
    """What :mod:`restore.ops.damage` measures in the middle of an image: float, (3, H, W), [0, 1]."""
    grey = damage.grey_of(lq)
    return {
        "colour noise": damage.colour_noise(lq),
        "grey noise": damage.grey_noise(grey),
        "blockiness": damage.blockiness(grey),
        "softness": damage.softness(grey),
    }


def damages(lq: Tensor) -> list[str]:
    """What is above its limit, in words; empty for a clean image."""
    side = math.sqrt(lq[0].numel())
    return [
        f"{name} {value:.3g}"
        for name, value in measured(lq).items()
        if value > max(LIMITS[name], SCATTER.get(name, 0.0) / side)
    ]


class AutoRestorer(Restorer):
    """Restores a clean image with one network and a damaged one with another; ``notes`` say which and why.

    Args:
        clean, photo: restorers of one scale, for images shrunk from sharp ones and for photos with blur, noise, JPEG.
    """

    name = "auto"

    def __init__(self, clean: Restorer, photo: Restorer) -> None:
        self.clean, self.photo = clean, photo
        self.scale, self.ensemble, self.protocol = clean.scale, clean.ensemble, clean.protocol
        self.halo, self.multiple_of = clean.halo, max(clean.multiple_of, photo.multiple_of)
        self.min_size = max(clean.min_size, photo.min_size)

    def _bands(self, image: Tensor, report: Report) -> Iterator[Tensor]:
        found = damages(as_lq(_middle(image)))
        chosen = self.photo if found else self.clean
        self.notes = MappingProxyType({"weights": f"{chosen.name} ({', '.join(found) or 'no damage found'})"})
        yield from chosen.bands(image, progress=report.progress, deadline=report.deadline, cancel=report.cancel)


def _middle(image: Tensor) -> Tensor:
    top, left = (max(0, (side - SEEN) // 2) for side in image.shape[1:])
    return image[:, top : top + SEEN, left : left + SEEN]
