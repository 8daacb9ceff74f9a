"""The contract of everything that restores an image, and the one way an image file is restored.

Predict, evaluate and the web page see only a :class:`Restorer`; :mod:`restore.inference.load` opens one.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
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
from restore.networks.contract import InputKind
from restore.ops import tiling
from restore.ops.resize import new_length, resize

Progress = Callable[[int, int], None]


class RestorationCancelled(Exception):
    """A restoration was cancelled or ran past its deadline; nothing was returned."""


class Restorer(ABC):
    """What can be asked to restore.

    Attributes:
        name: for tables and file names.
        scale, in_channels, input_kind, multiple_of, min_size, halo, protocol: as of
            :class:`restore.networks.contract.RestorationNetwork`.
        ensemble: whether it averages over 8 views of each image.
        phase: what it is doing, for a progress bar.
        notes: what should be known about the image last restored, beside the pixels.
        labels: how label maps are read, where lq is made of them; None where lq is an image, or where it is not known.
        keeps_kind: as there.
    """

    name: str
    scale: float
    ensemble: bool = False
    phase: str = "restoring"
    notes: Mapping[str, str] = MappingProxyType({})
    in_channels: int = 3
    input_kind: InputKind = "rgb"
    multiple_of: int = 1
    min_size: int = 1
    halo: int | None
    protocol: str = "sr_y"
    labels: Labels | None = None
    keeps_kind: bool = True

    def read(self, path: Path, *, metadata: Metadata = "strip") -> DecodedImage:
        """A file as this restorer takes it; the pixels of a label map are classes, and it has no metadata.

        Raises:
            FileNotFoundError, ValueError: as :func:`restore.image.reading.read` and :meth:`Labels.read`; a label map,
                and the weights do not say how it is read.
        """
        if self.input_kind == "rgb":
            return reading.read(path, metadata=metadata)
        if self.labels is None:
            raise SettingError(
                "ckpt_path",
                self.name,
                "weights that say which class each index or colour of a label map is",
                "use a checkpoint of `restore fit`",
            )
        return DecodedImage(self.labels.read(path))

    def seen(self, image: DecodedImage) -> Tensor:
        """The lq of what :meth:`read` gave: float32, (in_channels, H, W), [0, 1]."""
        return image.rgb() if self.labels is None else self.labels.encode(image.pixels)

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
            RestorationCancelled: cancelled or too late.
        """
        bands = self.bands(lq, progress=progress, deadline=deadline, cancel=cancel)
        return tiling.joined(bands, new_length(lq.shape[1], self.scale))

    @abstractmethod
    def bands(
        self,
        image: Tensor,
        *,
        progress: Progress | None = None,
        deadline: float | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Iterator[Tensor]:
        """What :meth:`restore` gives, in bands from top to bottom; one that works in tiles holds no more than a row.

        Args:
            image: lq as there, or a file's levels: uint8 or uint16, (3, H, W), or (1, H, W) for grey, which is
                repeated.
            progress, deadline, cancel: as there.

        Yields:
            float, (3, h, scale W), on the CPU.

        Raises:
            RestorationCancelled: as there.
        """


def as_lq(image: Tensor) -> Tensor:
    """Float as it is; levels of 8 or 16 bit, (C, H, W), as float, (3, H, W), [0, 1]."""
    return image if image.is_floating_point() else to_float(image).expand(3, -1, -1)


def reporter(
    progress: Progress | None, deadline: float | None = None, cancel: Callable[[], bool] | None = None
) -> Progress:
    """What is called after every piece: it passes the progress on or raises RestorationCancelled.

    See :meth:`Restorer.restore`.
    """

    def report(done: int, total: int) -> None:
        if cancel is not None and cancel():
            raise RestorationCancelled("cancelled")
        if deadline is not None and time.monotonic() > deadline:
            raise RestorationCancelled("the time allowed is over")
        if progress is not None and done:
            progress(done, total)

    return report


def pick_device(wanted: str) -> torch.device:
    """The device meant by ``device=``.

    Raises:
        SettingError: it is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available.get(wanted, False):
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise SettingError("device", wanted, f"{there}, which this machine has", f"set device={there.split(', ')[0]}")
    return torch.device(wanted)


def restore_image(
    restorer: Restorer,
    image: DecodedImage,
    *,
    progress: Progress | None = None,
    cancel: Callable[[], bool] | None = None,
) -> DecodedImage:
    """Restore an image and keep its kind: greyness, bit depth, colour profile and transparency.

    A large image is never held as floats, where the restorer works in tiles. The transparency is enlarged
    bicubically; it is a mask, and networks are trained on photos. Invisible places take the colours around them. What
    makes another kind of image, a photo of a label map for example, gives 8 bits of colour.

    Args:
        image: as :meth:`Restorer.read` gives it.
    """
    if not restorer.keeps_kind or restorer.labels is not None:
        return DecodedImage.of(restorer.restore(restorer.seen(image), progress=progress, cancel=cancel))
    bands = restorer.bands(carry_colours(image.pixels, image.alpha), progress=progress, cancel=cancel)
    alpha = None if image.alpha is None else resize(to_float(image.alpha), restorer.scale)
    return image.like(bands, alpha)
