"""The interface of everything that restores images, and the function that restores an image file.

Predict, evaluate and the web page only use a :class:`Restorer`; :mod:`restore.inference.load` opens one.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from restore.data.labels import Labels
from restore.image import reading
from restore.image.decoded_image import DecodedImage, to_float
from restore.image.metadata import Metadata
from restore.image.transparency import carry_colours
from restore.io.errors import SettingError
from restore.networks.contract import InputKind, Progress
from restore.ops import tiling
from restore.ops.cpu_precision import WORTH, bf16_speedup, slowdown_warning
from restore.ops.resize import new_length, resize

log = logging.getLogger(__name__)


class RestorationCancelled(Exception):
    """A restoration was cancelled or exceeded its deadline; nothing was returned."""


@dataclass(frozen=True)
class Report:
    """Called between the pieces of a restoration: reports the progress, or ends the restoration.

    Attributes:
        progress, deadline, cancel: as for :meth:`Restorer.restore`.
    """

    progress: Progress | None = None
    deadline: float | None = None
    cancel: Callable[[], bool] | None = None

    def __call__(self, done: int, total: int) -> None:
        """Report ``done`` of ``total`` pieces.

        Raises:
            RestorationCancelled: the restoration was cancelled or exceeded its deadline.
        """
        if self.cancel is not None and self.cancel():
            raise RestorationCancelled("cancelled")
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise RestorationCancelled("the time allowed is over")
        if self.progress is not None and done:
            self.progress(done, total)


class Restorer(ABC):
    """Restores images. A subclass implements :meth:`_bands`.

    Attributes:
        name: for tables and file names.
        trains_on_image: whether it trains on each image first, within the limits of ``ZeroShotTraining``.
        scale, in_channels, input_kind, multiple_of, min_size, halo, protocol, keeps_kind: see
            :class:`restore.networks.contract.RestorationNetwork`.
        ensemble: whether it averages over 8 views of each image.
        phase: the present step of the work, for a progress bar.
        notes: remarks about the last restored image.
        fell_back: whether the last result is bicubic, because the restorer's own result was not better or there was no
            time for one; ``notes`` give the reason.
        labels: how label maps are read if they are the input; None if the input is an image, or if it is not known.
        source: image that a restorer which trains on images uses, if the image to restore is only a part of it: float
            (3, H, W), or levels; None means the image itself.
    """

    name: str
    scale: float
    trains_on_image: bool = False
    ensemble: bool = False
    phase: str = "restoring"
    notes: Mapping[str, str] = MappingProxyType({})
    fell_back: bool = False
    in_channels: int = 3
    input_kind: InputKind = "rgb"
    multiple_of: int = 1
    min_size: int = 1
    halo: int | None
    protocol: str = "sr_y"
    labels: Labels | None = None
    source: Tensor | None = None
    keeps_kind: bool = True

    def read(self, path: Path, *, metadata: Metadata = "strip") -> DecodedImage:
        """Read a file as this restorer needs it; of a label map, the pixels are classes, and there is no metadata.

        Raises:
            FileNotFoundError, ValueError: see :func:`restore.image.reading.read` and :meth:`Labels.read`; also raised
                for a label map if the weights do not say how to read it.
        """
        if self.input_kind == "rgb":
            return reading.read(path, metadata=metadata)
        if self.labels is None:
            raise SettingError(
                "ckpt_path",
                self.name,
                "weights with a table of the class of each index or colour of a label map",
                "use a checkpoint of `restore fit`",
            )
        return DecodedImage(self.labels.read(path))

    @property
    def makes_new_image(self) -> bool:
        """Whether results are 8-bit colour images that take over nothing of the input but its size."""
        return not self.keeps_kind or self.labels is not None

    def lq_of(self, image: DecodedImage) -> Tensor:
        """Convert an image from :meth:`read` to lq: float32, (in_channels, H, W), [0, 1].

        For a model with another kind of output, transparent areas become white: many drawings are lines on
            transparency.
        """
        if self.labels is not None:
            return self.labels.encode(image.pixels)
        if self.keeps_kind or image.alpha is None:
            return image.rgb()
        alpha = to_float(image.alpha)
        return image.rgb() * alpha + (1 - alpha)

    def restore(
        self,
        lq: Tensor,
        *,
        progress: Progress | None = None,
        deadline: float | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Tensor:
        """Restore one image.

        Args:
            lq: float, (in_channels, H, W), [0, 1], any H, W >= 1.
            progress: called as ``progress(pieces done, total pieces)``.
            deadline: in seconds on the clock ``time.monotonic``.
            cancel: polled between pieces; true ends the restoration.

        Returns:
            float, (3, scale H, scale W) rounded up, on the CPU, not clamped.

        Raises:
            RestorationCancelled: cancelled, or past the deadline.
        """
        bands = self.bands(lq, progress=progress, deadline=deadline, cancel=cancel)
        return tiling.joined(bands, new_length(lq.shape[1], self.scale))

    def bands(
        self,
        image: Tensor,
        *,
        progress: Progress | None = None,
        deadline: float | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Iterator[Tensor]:
        """The result of :meth:`restore` in bands from top to bottom; with tiles, one row of them is in memory at once.

        Args:
            image: lq as for :meth:`restore`, or levels: uint8 or uint16, (3, H, W), or (1, H, W) for grey, which is
                repeated.
            progress, deadline, cancel: as for :meth:`restore`.

        Yields:
            float, (3, h, scale W), on the CPU.

        Raises:
            RestorationCancelled: as for :meth:`restore`.
        """
        return self._bands(image, Report(progress, deadline, cancel))

    @abstractmethod
    def _bands(self, image: Tensor, report: Report) -> Iterator[Tensor]:
        """Implement :meth:`bands`; ``report`` must be called at the beginning and after every piece."""


def as_lq(image: Tensor) -> Tensor:
    """Convert levels of 8 or 16 bit, (C, H, W), to float, (3, H, W), [0, 1]; float is returned unchanged."""
    return image if image.is_floating_point() else to_float(image).expand(3, -1, -1)


def pick_device(wanted: str) -> torch.device:
    """The device named by ``device=``.

    Raises:
        SettingError: the device is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available.get(wanted, False):
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise SettingError("device", wanted, f"{there}, which this machine has", f"set device={there.split(', ')[0]}")
    return torch.device(wanted)


@cache
def use_bf16(precision: str, device: str) -> bool:
    """Whether to run networks in bfloat16; with ``auto`` it is measured on a CPU; ``bf16`` may log that it is slower.

    Args:
        precision: see :class:`restore.config.inference.Inference`. device: device type, such as ``cpu``.
    """
    if precision == "auto":
        return bf16_speedup() >= WORTH if device == "cpu" else device == "cuda" and torch.cuda.is_bf16_supported()
    warning = slowdown_warning("precision", precision, "auto") if (precision, device) == ("bf16", "cpu") else None
    if warning is not None:
        log.warning(warning)
    return precision == "bf16"


def restore_image(
    restorer: Restorer,
    image: DecodedImage,
    *,
    progress: Progress | None = None,
    cancel: Callable[[], bool] | None = None,
) -> DecodedImage:
    """Restore an image and keep its kind: greyness, bit depth, colour profile and transparency.

    If the restorer works in tiles, a large image is never stored as floats. The alpha channel is enlarged bicubically,
    because it is a mask and networks are trained on photos. Fully transparent pixels take the colours around them. A
    model that makes another kind of image, such as a photo from a label map, gives an 8-bit colour image.

    Args:
        image: from :meth:`Restorer.read`.
    """
    if restorer.makes_new_image:
        return DecodedImage.of(restorer.restore(restorer.lq_of(image), progress=progress, cancel=cancel))
    bands = restorer.bands(carry_colours(image.pixels, image.alpha), progress=progress, cancel=cancel)
    alpha = None if image.alpha is None else resize(to_float(image.alpha), restorer.scale)
    return image.like(bands, alpha, rows=new_length(image.pixels.shape[1], restorer.scale))
