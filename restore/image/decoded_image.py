"""A decoded image file, and conversion of its levels to numbers from 0 to 1 and back.

Inside the package an image is float, RGB, CHW, [0, 1]; a :class:`DecodedImage` also holds what is needed
to write a file of the same kind.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import overload

import torch
from torch import Tensor

from restore.image.file_parts import PngChunk, Resolution
from restore.image.metadata import Description
from restore.ops.tiling import joined

_AT_ONCE = 2**22  # values rounded per step


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image file.

    Attributes:
        pixels: uint8 or uint16, (C, H, W) with 3 channels (RGB) or 1 (grey).
        alpha: same dtype, (1, H, W), or None if the file has no transparency.
        icc: the embedded colour profile, or None.
        description: metadata, if :func:`restore.image.reading.read` was asked to keep it; written with the pixels.
        colours: chunks of a PNG, apart from the profile, that define the meaning of its levels (gAMA, cHRM, cICP ...).
        dpi: resolution in dots per inch, along x and y, or None.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    icc: bytes | None = None
    description: Description = field(default_factory=Description)
    colours: tuple[PngChunk, ...] = ()
    dpi: Resolution | None = None

    @classmethod
    def of(cls, rgb: Tensor) -> "DecodedImage":
        """An 8-bit colour image from float (3, H, W), clamped to [0, 1] and rounded."""
        return cls(quantise(rgb, 255))

    @property
    def is_grey(self) -> bool:
        """Whether the file has a single channel of grey levels."""
        return self.pixels.shape[0] == 1

    @property
    def peak(self) -> int:
        """The level of white: 255 for an 8-bit file, 65535 for a 16-bit one."""
        return 65535 if self.pixels.dtype == torch.uint16 else 255

    @property
    def kind(self) -> str:
        """Description of colours and bit depth, such as ``grey, 8 bit``."""
        alpha = " with transparency" if self.alpha is not None else ""
        return f"{'grey' if self.is_grey else 'colour'}{alpha}, {16 if self.peak > 255 else 8} bit"

    def rgb(self) -> Tensor:
        """Float32, (3, H, W), [0, 1]; grey is repeated three times."""
        return to_float(self.pixels).expand(3, -1, -1)

    def rgb8(self) -> Tensor:
        """Colours as uint8, (3, H, W); 16 bits are rounded to 8, grey is repeated three times."""
        pixels = quantise(to_float(self.pixels), 255) if self.peak > 255 else self.pixels
        return pixels.expand(3, -1, -1)

    def like(self, rgb: Tensor | Iterable[Tensor], alpha: Tensor | None, *, rows: int | None = None) -> "DecodedImage":
        """An image of the same kind (bit depth, greyness, profile, metadata) with other pixels.

        Args:
            rgb: float, (3, H, W), or bands of it from top to bottom, so that the whole is never in memory; clamped to
                [0, 1] and rounded; a grey image takes the mean of the channels.
            alpha: float, (1, H, W), or None.
            rows: H, if ``rgb`` is given in bands.
        """
        if isinstance(rgb, Tensor):
            rows, rgb = rgb.shape[1], (rgb,)
        assert rows is not None
        return replace(self, pixels=joined(self._levels(rgb), rows), alpha=quantise(alpha, self.peak))

    def _levels(self, bands: Iterable[Tensor]) -> Iterator[Tensor]:
        for band in bands:
            levels = quantise(band.mean(0, keepdim=True) if self.is_grey else band, self.peak)
            del band  # otherwise it would stay in memory while the next one is computed
            yield levels


def to_float(pixels: Tensor) -> Tensor:
    """Convert uint8 or uint16 of any shape to float32 in [0, 1]."""
    return pixels.to(torch.float32) / (65535 if pixels.dtype == torch.uint16 else 255)


@overload
def quantise(image: Tensor, peak: int) -> Tensor: ...
@overload
def quantise(image: None, peak: int) -> None: ...
def quantise(image: Tensor | None, peak: int) -> Tensor | None:
    """Clamp float (C, H, W) and round it to uint8 or uint16 with white at ``peak``, 255 or 65535; None stays None."""
    if image is None:
        return None
    levels = torch.empty(image.shape, dtype=torch.uint16 if peak > 255 else torch.uint8)
    rows = max(1, _AT_ONCE // max(1, image.shape[0] * image.shape[2]))  # limits the memory for float64
    for top in range(0, image.shape[1], rows):
        band = image[:, top : top + rows].detach().to("cpu", torch.float64).clamp(0, 1).mul(peak).add(0.5).floor()
        levels[:, top : top + rows] = band.to(torch.int32).to(levels.dtype)
    return levels
