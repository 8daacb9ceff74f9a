"""Label maps: which class each place belongs to, written as palette indices or as colours."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restore.image import indices, reading
from restore.image.picture import to_float

MAX_CLASSES = 256  # a label map is 8 bit


@dataclass(frozen=True, kw_only=True)
class Labels:
    """How label maps are read, and how a network sees them.

    An index map (palette, black-and-white or 8-bit grey file) holds its classes as they are. In a colour picture a
    pixel belongs to the nearest colour of ``palette``, because JPEG has smeared most colour-coded sets.

    Attributes:
        palette: class k's colour, (red, green, blue) in 0..255 each; None where all maps hold indices.
        classes: how many there are; None for as many as the palette has colours.
        one_hot: the network sees a channel of zeros and ones for each class; else the palette's colours.
        snap_distance: Euclidean distance in RGB up to which a pixel counts as a palette colour.
        snap_share: share of a map's pixels that may be farther from all of them, where smeared colours meet.

    Raises:
        ValueError: settings that do not fit together.
    """

    palette: tuple[tuple[int, ...], ...] | None = None
    classes: int | None = None
    one_hot: bool = False
    snap_distance: float = 48.0
    snap_share: float = 0.0

    def __post_init__(self) -> None:
        colours = self.palette
        if colours is not None and (
            not 2 <= len(colours) <= MAX_CLASSES
            or not all(len(colour) == 3 and all(0 <= level <= 255 for level in colour) for colour in colours)
            or len(set(colours)) < len(colours)
        ):
            raise ValueError(
                f"data.palette is {[list(colour) for colour in colours]}, expected 2 to {MAX_CLASSES} different "
                "colours of three levels in 0..255"
            )
        if colours is None and self.classes is None:
            raise ValueError(
                "model.input_kind is labels, but neither data.palette nor data.classes is set; give the colours of the "
                "classes, 'data.palette=[[0,0,0],[255,80,0]]', or for index maps with data.one_hot=true their number, "
                "data.classes=12"
            )
        if self.classes is not None and not 2 <= self.classes <= (MAX_CLASSES if colours is None else len(colours)):
            most = MAX_CLASSES if colours is None else f"{len(colours)}, the colours of data.palette"
            raise ValueError(f"data.classes is {self.classes}, expected 2 to {most}")
        if colours is None and not self.one_hot:
            raise ValueError(
                "data.palette is null, and without colours neighbouring indices would look alike to a network; set "
                "data.one_hot=true, or give a palette"
            )
        if self.snap_distance < 0 or not 0 <= self.snap_share <= 1:
            raise ValueError(
                f"data.snap_distance is {self.snap_distance:g} and data.snap_share is {self.snap_share:g}, expected at "
                "least 0, and a share from 0 to 1"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Labels":
        """From plain values, as :meth:`settings` gives them."""
        palette = settings["palette"]
        return cls(**{**settings, "palette": None if palette is None else tuple(tuple(colour) for colour in palette)})

    def settings(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        palette = None if self.palette is None else [list(colour) for colour in self.palette]
        return asdict(self) | {"palette": palette}

    @property
    def count(self) -> int:
        """How many classes there are."""
        return self.classes if self.classes is not None else len(self.palette or ())

    @property
    def channels(self) -> int:
        """Channels of what the network sees."""
        return self.count if self.one_hot else 3

    def read(self, path: Path) -> Tensor:
        """A file's classes: uint8, (1, H, W).

        Raises:
            FileNotFoundError, ValueError: not readable, an index that is no class, colours far from the palette.
        """
        if self.palette is not None and indices.is_colour(path):
            return self.snap(reading.read_rgb8(path), path)
        labels = indices.read_labels(path)
        highest = int(labels.max())
        if highest >= self.count:
            raise ValueError(
                f"{path}: holds index {highest} at {int((labels >= self.count).sum())} of {labels.numel()} pixels, "
                f"expected indices below {self.count}, the number of classes (data.classes, data.palette)"
            )
        return labels

    def snap(self, rgb: Tensor, path: Path) -> Tensor:
        """The nearest palette colour of each pixel.

        Args:
            rgb: uint8, (3, H, W).
            path: named in the error.

        Returns:
            Classes, uint8, (1, H, W).

        Raises:
            ValueError: no palette, or more pixels than ``snap_share`` are farther than ``snap_distance`` from it.
        """
        if self.palette is None:
            raise ValueError(
                f"{path}: holds colours, not class indices; set data.palette to the colours of the classes"
            )
        pixels = rgb.to(torch.int32)
        least = torch.full(rgb.shape[1:], 4 * 255**2, dtype=torch.int32)  # squared
        labels = torch.zeros(rgb.shape[1:], dtype=torch.uint8)
        for k, colour in enumerate(self.palette[: self.count]):
            distance = (pixels - torch.tensor(colour, dtype=torch.int32).view(3, 1, 1)).square().sum(0)
            labels[distance < least] = k
            least = torch.minimum(least, distance)
        far = int((least > self.snap_distance**2).sum())
        share = far / least.numel()
        if share > self.snap_share:
            remedy = (
                "these are no colours of labels: see that data.direction and the palette are right"
                if share > 0.5
                else f"JPEG smears colours: data.snap_share={math.ceil(share * 100) / 100:g} would do"
            )
            raise ValueError(
                f"{path}: {far} of {least.numel()} pixels ({share:.0%}) are farther than "
                f"data.snap_distance={self.snap_distance:g} from every colour of data.palette, expected at most "
                f"{self.snap_share:.0%} (data.snap_share); {remedy}"
            )
        return labels[None]

    def encode(self, labels: Tensor) -> Tensor:
        """What the network sees of classes, uint8 (1, H, W): float32, (``channels``, H, W), in [0, 1]."""
        if self.one_hot:
            planes = torch.zeros(self.count, *labels.shape[1:])
            return planes.scatter_(0, labels.long(), 1.0)
        colours = to_float(torch.tensor(self.palette, dtype=torch.uint8))
        return colours[labels[0].long()].permute(2, 0, 1)
