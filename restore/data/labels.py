"""Label maps: the class of each pixel, stored as palette indices or as colours."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restore.image import label_maps, reading
from restore.image.decoded_image import to_float
from restore.io.errors import SettingError

MAX_CLASSES = 256  # label maps have 8 bits


@dataclass(frozen=True, kw_only=True)
class Labels:
    """How label maps are read, and how they are encoded as a network's input.

    A single-channel file (palette, black-and-white or 8-bit grey) stores class indices. In a colour file, a pixel
    belongs to the nearest colour of ``palette``, because most colour-coded sets contain JPEG artefacts.

    Attributes:
        palette: the colour (red, green, blue) of each class, values in 0..255; None if all maps hold indices.
        classes: number of classes; None means the number of palette colours.
        one_hot: encode the input as one channel of zeros and ones per class; otherwise as the palette's colours.
        snap_distance: maximum Euclidean RGB distance at which a pixel matches a palette colour.
        snap_share: maximum share of a map's pixels that match no palette colour, as at blurred class boundaries.

    Raises:
        SettingError: the settings contradict each other.
    """

    palette: tuple[tuple[int, ...], ...] | None = None
    classes: int | None = None
    one_hot: bool = False
    snap_distance: float = 48.0
    snap_share: float = 0.0

    def __post_init__(self) -> None:
        self._check_palette()
        self._check_classes()
        if self.snap_distance < 0:
            raise SettingError("data.snap_distance", f"{self.snap_distance:g}", "at least 0")
        if not 0 <= self.snap_share <= 1:
            raise SettingError("data.snap_share", f"{self.snap_share:g}", "a share from 0 to 1")

    def _check_palette(self) -> None:
        colours = self.palette
        if colours is not None and (
            not 2 <= len(colours) <= MAX_CLASSES
            or not all(len(colour) == 3 and all(0 <= level <= 255 for level in colour) for colour in colours)
            or len(set(colours)) < len(colours)
        ):
            raise SettingError(
                "data.palette",
                [list(colour) for colour in colours],
                f"2 to {MAX_CLASSES} different colours of three levels in 0..255",
            )
        if colours is None and self.classes is None:
            raise SettingError(
                "data.palette",
                None,
                "the colours of the classes, or data.classes=<their number>, because model.input_kind is labels",
                "set 'data.palette=[[0,0,0],[255,80,0]]', or for index maps data.classes=12 and data.one_hot=true",
            )

    def _check_classes(self) -> None:
        colours = self.palette
        if self.classes is not None and not 2 <= self.classes <= (MAX_CLASSES if colours is None else len(colours)):
            most = MAX_CLASSES if colours is None else f"{len(colours)}, the colours of data.palette"
            raise SettingError("data.classes", self.classes, f"2 to {most}")
        if colours is None and not self.one_hot:
            raise SettingError(
                "data.palette",
                None,
                "colours, because neighbouring indices are nearly equal as inputs of a network",
                "set data.one_hot=true, or give a palette",
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Labels":
        """Build from plain values, the inverse of :meth:`settings`."""
        palette = settings["palette"]
        return cls(**{**settings, "palette": None if palette is None else tuple(tuple(colour) for colour in palette)})

    def settings(self) -> dict[str, Any]:
        """The settings as plain values, for a checkpoint."""
        palette = None if self.palette is None else [list(colour) for colour in self.palette]
        return asdict(self) | {"palette": palette}

    @property
    def count(self) -> int:
        """The number of classes."""
        return self.classes if self.classes is not None else len(self.palette or ())

    @property
    def channels(self) -> int:
        """Number of channels of the network's input."""
        return self.count if self.one_hot else 3

    def read(self, path: Path) -> Tensor:
        """The classes in a file: uint8, (1, H, W).

        Raises:
            FileNotFoundError, ValueError: an unreadable file, an index outside the classes, colours far from the
                palette.
        """
        try:
            labels = label_maps.read_labels(path)
        except label_maps.ColourLabels:
            if self.palette is None:
                raise
            return self.snap(reading.read_rgb8(path), path)
        highest = int(labels.max())
        if highest >= self.count:
            raise ValueError(
                f"{path}: holds index {highest} at {int((labels >= self.count).sum())} of {labels.numel()} pixels, "
                f"expected indices below {self.count}, the number of classes (data.classes, data.palette)"
            )
        return labels

    def snap(self, rgb: Tensor, path: Path) -> Tensor:
        """The index of the nearest palette colour of each pixel.

        Args:
            rgb: uint8, (3, H, W).
            path: file name, for the error.

        Returns:
            Classes, uint8, (1, H, W).

        Raises:
            ValueError: there is no palette, or more than ``snap_share`` of the pixels are farther than
                ``snap_distance``.
        """
        if self.palette is None:
            raise ValueError(
                f"{path}: holds colours, not class indices; set data.palette to the colours of the classes"
            )
        pixels = rgb.to(torch.int32)
        least = torch.full(rgb.shape[1:], 4 * 255**2, dtype=torch.int32)  # squared distance, above the maximum
        labels = torch.zeros(rgb.shape[1:], dtype=torch.uint8)
        for k, colour in enumerate(self.palette[: self.count]):
            distance = (pixels - torch.tensor(colour, dtype=torch.int32).view(3, 1, 1)).square().sum(0)
            labels[distance < least] = k
            least = torch.minimum(least, distance)
        far = int((least > self.snap_distance**2).sum())
        share = far / least.numel()
        if share > self.snap_share:
            remedy = (
                "these are not label colours: check data.direction and data.palette"
                if share > 0.5
                else f"JPEG smears colours: data.snap_share={math.ceil(share * 100) / 100:g} would suffice"
            )
            raise ValueError(
                f"{path}: {far} of {least.numel()} pixels ({share:.0%}) are farther than "
                f"data.snap_distance={self.snap_distance:g} from every colour of data.palette, expected at most "
                f"{self.snap_share:.0%} (data.snap_share); {remedy}"
            )
        return labels[None]

    def encode(self, labels: Tensor) -> Tensor:
        """Encode classes, uint8 (1, H, W), as the network's input: float32, (``channels``, H, W), in [0, 1]."""
        if self.one_hot:
            planes = torch.zeros(self.count, *labels.shape[1:])
            return planes.scatter_(0, labels.long(), 1.0)
        colours = to_float(torch.tensor(self.palette, dtype=torch.uint8))
        return colours[labels[0].long()].permute(2, 0, 1)
