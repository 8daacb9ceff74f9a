"""What restores a picture, behind one contract, and the one way a picture is restored.

Predict, evaluate and the page see only a :class:`Restorer`; :mod:`restore.inference.load` opens one.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from restore.data.labels import Labels
from restore.image import reading
from restore.image.metadata import Metadata
from restore.image.picture import Picture, to_float
from restore.ops.resize import resize, resize_8bit

Progress = Callable[[int, int], None]


class Interrupted(Exception):
    """A restoration was cancelled or ran past its deadline; nothing was returned."""


class Restorer(ABC):
    """What can be asked to restore.

    Attributes:
        name: for tables and file names.
        scale, in_channels, input_kind, multiple_of, min_size, halo, protocol: as of
            :class:`restore.models.base.RestorationModel`.
        ensemble: whether it takes 8 views of each picture.
        phase: what it is doing, for a progress bar.
        notes: what should be known about the picture last restored, beside the picture.
        labels: how label maps are read, where lq is made of them; None where lq is a picture, or where it is not known.
        keeps_kind: as there.
    """

    name: str
    scale: float
    ensemble: bool = False
    phase: str = "restoring"
    notes: Mapping[str, str] = MappingProxyType({})
    in_channels: int = 3
    input_kind: Literal["rgb", "labels"] = "rgb"
    multiple_of: int = 1
    min_size: int = 1
    halo: int | None
    protocol: str = "sr_y"
    labels: Labels | None = None
    keeps_kind: bool = True

    def read(self, path: Path, *, metadata: Metadata = "strip") -> Picture:
        """A file as this restorer takes it; the pixels of a label map are classes, and it has no metadata.

        Raises:
            FileNotFoundError, ValueError: as :func:`restore.image.reading.read` and :meth:`Labels.read`; a label map,
                and the weights do not say how it is read.
        """
        if self.input_kind == "rgb":
            return reading.read(path, metadata=metadata)
        if self.labels is None:
            raise ValueError(
                f"ckpt_path: {self.name} takes label maps but does not say which class each index or colour is; "
                "use a checkpoint of `restore fit`"
            )
        return Picture(self.labels.read(path))

    def seen(self, picture: Picture) -> Tensor:
        """The lq of what :meth:`read` gave: float32, (in_channels, H, W), [0, 1]."""
        return picture.rgb() if self.labels is None else self.labels.encode(picture.pixels)

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
            progress: called as ``progress(pieces done, pieces in all)``.
            deadline: on the clock ``time.monotonic``.
            cancel: asked between pieces.

        Returns:
            float, (3, scale H, scale W) rounded up, on the CPU, not clamped.

        Raises:
            Interrupted: cancelled or too late.
        """
        report = reporter(progress, deadline, cancel)
        report(0, 1)
        return self._restore(lq, report)

    def bands(
        self, levels: Tensor, *, progress: Progress | None = None, cancel: Callable[[], bool] | None = None
    ) -> Iterator[Tensor]:
        """:meth:`restore` of a file's levels, in bands from top to bottom, the same values.

        Args:
            levels: uint8 or uint16, (3, H, W), or (1, H, W) for grey, which is repeated.

        Yields:
            float, (3, h, scale W): here all rows at once; who works in tiles holds no more than a row of them.
        """
        yield self.restore(to_float(levels).expand(3, -1, -1), progress=progress, cancel=cancel)

    @abstractmethod
    def _restore(self, lq: Tensor, report: Progress) -> Tensor:
        """Do it, calling ``report`` after every piece; what ``report`` raises goes through."""


def reporter(
    progress: Progress | None, deadline: float | None = None, cancel: Callable[[], bool] | None = None
) -> Progress:
    """What is called after every piece: it passes on, and raises Interrupted. See :meth:`Restorer.restore`."""

    def report(done: int, total: int) -> None:
        if cancel is not None and cancel():
            raise Interrupted("cancelled")
        if deadline is not None and time.monotonic() > deadline:
            raise Interrupted("the time allowed is over")
        if progress is not None and done:
            progress(done, total)

    return report


class Bicubic(Restorer):
    """MATLAB's bicubic enlargement, the baseline of every super-resolution table.

    Args:
        scale: at least 1, whole or not.
    """

    name = "bicubic"
    halo = 2

    def __init__(self, scale: float) -> None:
        if not 1 <= scale <= 16:
            raise ValueError(f"scale is {scale:g}, expected at least 1 and at most 16")
        self.scale = scale

    def _restore(self, lq: Tensor, report: Progress) -> Tensor:
        levels = (lq.double() * 255).round()
        is_8bit = torch.allclose(lq.double() * 255, levels, atol=1e-3, rtol=0)
        # an 8-bit image is rounded between the axes, as MATLAB does
        pred = resize_8bit(levels.to(torch.uint8), self.scale) / 255 if is_8bit else resize(lq, self.scale)
        report(1, 1)
        return pred


class Identity(Restorer):
    """Returns its input: the degraded picture's own score, the baseline where the scale is 1."""

    name = "identity"
    scale = 1
    halo = 0
    protocol = "deblur_rgb"

    def _restore(self, lq: Tensor, report: Progress) -> Tensor:
        report(1, 1)
        return lq


def pick_device(wanted: str) -> torch.device:
    """The device meant by ``device=``.

    Raises:
        ValueError: it is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available.get(wanted, False):
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise ValueError(f"device is {wanted}, but this machine has {there}; set device={there.split(', ')[0]}")
    return torch.device(wanted)


def restore_picture(
    restorer: Restorer,
    picture: Picture,
    *,
    progress: Progress | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Picture:
    """Restore a picture and keep its kind: greyness, bit depth, colour profile and transparency.

    A large picture is never held as floats, where the restorer works in tiles. The transparency is enlarged
    bicubically; it is a mask, and networks are trained on photos. What makes another kind of picture, a photo of a
    label map for example, gives 8 bits of colour.

    Args:
        picture: as :meth:`Restorer.read` gives it.
    """
    if not restorer.keeps_kind or restorer.labels is not None:
        return Picture.of(restorer.restore(restorer.seen(picture), progress=progress, cancel=cancel))
    bands = restorer.bands(picture.pixels, progress=progress, cancel=cancel)
    alpha = None if picture.alpha is None else resize(to_float(picture.alpha), restorer.scale)
    return picture.like(bands, alpha)
