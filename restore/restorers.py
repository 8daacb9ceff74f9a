"""What restores a picture, behind one contract, and the one way a picture is restored.

Predict, evaluate and the page see only a :class:`Restorer`; :mod:`restore.opening` opens one.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from restore import tiling
from restore.data.labels import Labels
from restore.image import reading
from restore.image.metadata import Metadata
from restore.image.picture import Picture, to_float
from restore.inference import Inference
from restore.models.base import RestorationModel
from restore.resize import resize, resize_8bit

Progress = Callable[[int, int], None]

PROGRAM = 800 * 2**20  # bytes of Python with PyTorch and Lightning
ROWS = 2048  # of a row of tiles, reckoned


class Interrupted(Exception):
    """A restoration was cancelled or ran past its deadline; nothing was returned."""


class Restorer(ABC):
    """What can be asked to restore.

    Attributes:
        name: for tables and file names.
        scale, in_channels, input_kind, multiple_of, min_size, halo, protocol: as of :class:`RestorationModel`.
        ensemble: whether it takes 8 views of each picture.
        phase: what it is doing, for a progress bar.
        notes: what should be known about the picture last restored, beside the picture.
        labels: how label maps are read, where lq is made of them; None where lq is a picture, or where it is not known.
        keeps_kind: as of :class:`RestorationModel`.
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
        report = _reporter(progress, deadline, cancel)
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


def _reporter(progress: Progress | None, deadline: float | None, cancel: Callable[[], bool] | None) -> Progress:
    def report(done: int, total: int) -> None:
        if cancel is not None and cancel():
            raise Interrupted("cancelled")
        if deadline is not None and time.monotonic() > deadline:
            raise Interrupted("the time allowed is over")
        if progress is not None and done:
            progress(done, total)

    return report


class NetworkRestorer(Restorer):
    """A trained network, whole or tile by tile.

    Args:
        name: for tables and file names.
        model: rebuilt from a checkpoint.
        inference: how to run it.
    """

    scale: int

    def __init__(self, name: str, model: RestorationModel, inference: Inference) -> None:
        self.ensemble = inference.ensemble(default=False)
        self.name, self.inference = name + ("+ensemble" if self.ensemble else ""), inference
        self.device = pick_device(inference.device)
        self.model = model.eval().to(self.device)
        self.scale, self.in_channels, self.input_kind = model.scale, model.in_channels, model.input_kind
        self.multiple_of, self.min_size, self.halo = model.multiple_of, model.min_size, model.halo
        self.protocol, self.keeps_kind = model.protocol, model.keeps_kind
        self.labels = None if model.label_settings is None else Labels.of(model.label_settings)
        self._context = inference.tile_overlap if model.halo is None else model.halo
        if model.why_no_tiles is not None and inference.tile not in ("auto", "none"):
            raise ValueError(
                f"tile is {inference.tile}, but {name} restores a picture as a whole, because {model.why_no_tiles}; "
                "leave tile out"
            )

    def tile_for(self, size: tuple[int, int]) -> int | None:
        """The tile used for an image of (height, width), or None when it is run whole."""
        choice = str(self.inference.tile)
        if choice == "none":
            return None
        if choice != "auto":
            return tiling.round_up(int(choice), self.multiple_of)
        if self.model.why_no_tiles is not None:
            self._refuse_too_large(size)
            return None
        return tiling.largest_tile(
            size,
            bytes_per_pixel=self.model.bytes_per_pixel,
            memory_gb=self.inference.memory_gb,
            halo=self._context,
            multiple_of=self.multiple_of,
            held=self._held(size),
        )

    def _held(self, size: tuple[int, int]) -> int:
        """Bytes of a large picture of (height, width) beside its tiles.

        Levels of 8 bit that came in and go out, a row of tiles as float (with the ensemble three whole results), and
        Python with PyTorch, which a small picture does not answer for.
        """
        height, width = size
        area = self.scale**2
        levels = 3 * height * width * (1 + area)
        rows = 3 * height if self.ensemble else min(height, ROWS)
        return levels + 12 * area * width * rows + min(PROGRAM, 2 * levels)

    def _refuse_too_large(self, size: tuple[int, int]) -> None:
        height, width = (tiling.round_up(max(length, self.min_size), self.multiple_of) for length in size)
        needed = height * width * self.model.bytes_per_pixel / 2**30
        if needed > self.inference.memory_gb:
            raise ValueError(
                f"memory_gb is {self.inference.memory_gb:g}, but a picture of {size[0]}x{size[1]} px needs about "
                f"{needed:.1f} and cannot be cut into tiles, because {self.model.why_no_tiles}; "
                f"set memory_gb={needed + 0.05:.1f} if the machine has as much, or shrink the picture"
            )

    def _restore(self, lq: Tensor, report: Progress) -> Tensor:
        views = 8 if self.ensemble else 1
        seen = 0

        def forward(image: Tensor) -> Tensor:
            nonlocal seen
            before, seen = seen, seen + 1
            pred = self._run(image.to(self.device), lambda done, total: report(before * total + done, views * total))
            return pred.to("cpu", torch.float32)

        use_bf16 = self.inference.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=use_bf16):
            batch = lq[None].to(torch.float32)
            return (tiling.self_ensemble(forward, batch) if self.ensemble else forward(batch))[0]

    def bands(
        self, levels: Tensor, *, progress: Progress | None = None, cancel: Callable[[], bool] | None = None
    ) -> Iterator[Tensor]:
        """As of :class:`Restorer`; with tiles, no more than a row of them is held as float."""
        tile = self.tile_for((levels.shape[-2], levels.shape[-1]))
        if tile is None or self.ensemble:
            yield from super().bands(levels, progress=progress, cancel=cancel)
            return
        report = _reporter(progress, None, cancel)
        report(0, 1)
        use_bf16 = self.inference.precision == "bf16"

        def forward(piece: Tensor) -> Tensor:
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=use_bf16):
                pred: Tensor = self.model(piece)
            return pred

        def load(piece: Tensor) -> Tensor:
            return to_float(piece).expand(-1, 3, -1, -1).to(self.device)

        for band in tiling.bands(forward, levels[None], load=load, **self._cut(tile, report)):
            yield band[0].to("cpu", torch.float32)
            del band  # else it would live while the next one is made

    def _cut(self, tile: int, report: Progress) -> dict[str, Any]:
        sizes = {"scale": self.scale, "tile": tile, "halo": self._context}
        rules = {"multiple_of": self.multiple_of, "min_size": self.min_size, "blend": self.halo is None}
        return {**sizes, **rules, "progress": report}

    def _run(self, image: Tensor, report: Progress) -> Tensor:
        tile = self.tile_for((image.shape[-2], image.shape[-1]))
        if tile is None:
            pred = self.model.restore_whole(image)
            report(1, 1)
            return pred
        return tiling.tiled(self.model, image, **self._cut(tile, report))


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
