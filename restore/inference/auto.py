"""``ckpt_path=auto``: chooses among the shipped weights by the damage found in the image."""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from torch import Tensor

from restore.inference.checkpoint_names import photo_scales
from restore.inference.restorer import Report, Restorer, as_lq
from restore.ops import damage

SEEN = 1024  # pixels; side of the central part of an image that is measured

# Above these limits an image counts as damaged. Measured on eight photos held out from training, downscaled by 2:
# clean ones reach 0.0021, 0.0111, 0.032 and 6.3; with noise of 0.02 or more, colour noise is at least 0.0206; with
# JPEG 50, blockiness is at least 0.15; with a blur of 0.6 px or more, softness is at least 15.
LIMITS: Mapping[str, float] = MappingProxyType(
    {"colour noise": 0.007, "grey noise": 0.014, "blockiness": 0.08, "softness": 10.0}
)
# These measures scatter more in small images: the limit is at least this value divided by the square root of the
# number of pixels. From experiments/super_resolution/limits.py, whose images have about 100 px a side at x4.
SCATTER: Mapping[str, float] = MappingProxyType({"grey noise": 2.0, "blockiness": 11.0})


def measured(lq: Tensor) -> dict[str, float]:
    """The measures of :mod:`restore.ops.damage` for an image, float (3, H, W) in [0, 1]."""
    grey = damage.grey_of(lq)
    return {
        "colour noise": damage.colour_noise(lq),
        "grey noise": damage.grey_noise(grey),
        "blockiness": damage.blockiness(grey),
        "softness": damage.softness(grey),
    }


def damages(lq: Tensor) -> list[str]:
    """The measures above their limits, in words; empty for a clean image."""
    side = math.sqrt(lq[0].numel())
    return [
        f"{name} {value:.3g}"
        for name, value in measured(lq).items()
        if value > max(LIMITS[name], SCATTER.get(name, 0.0) / side)
    ]


class AutoRestorer(Restorer):
    """Restores clean images with one network and damaged ones with another; ``notes`` say which one, and why.

    Args:
        clean: for clean downscaled images. photo: for photos with blur, noise or JPEG, of the same scale; without it
            ``notes`` say which damage ``clean`` sharpens.
    """

    name = "auto"

    def __init__(self, clean: Restorer, photo: Restorer | None = None) -> None:
        self.clean, self.photo = clean, photo
        self.scale, self.ensemble, self.protocol = clean.scale, clean.ensemble, clean.protocol
        self.halo, either = clean.halo, [clean] if photo is None else [clean, photo]
        self.multiple_of = max(each.multiple_of for each in either)
        self.min_size = max(each.min_size for each in either)

    def _bands(self, image: Tensor, report: Report) -> Iterator[Tensor]:
        found = damages(as_lq(_middle(image)))
        chosen = self.photo if found and self.photo is not None else self.clean
        note = {"weights": f"{chosen.name} ({', '.join(found) or 'no damage found'})"}
        if self.photo is None:
            note = {"damage": self._without_weights(found)} if found else {}
        self.notes = MappingProxyType(note)
        yield from chosen.bands(image, progress=report.progress, deadline=report.deadline, cancel=report.cancel)

    def _without_weights(self, found: list[str]) -> str:
        remedy = " or ".join(f"scale={scale}" for scale in photo_scales())
        return f"{', '.join(found)}; there are no weights for damaged photos at x{self.scale:g}, set {remedy}"


def _middle(image: Tensor) -> Tensor:
    top, left = (max(0, (side - SEEN) // 2) for side in image.shape[1:])
    return image[:, top : top + SEEN, left : left + SEEN]
