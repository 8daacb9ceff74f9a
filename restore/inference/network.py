"""A trained network as a restorer: whole, or tile by tile within a memory budget."""

from collections.abc import Iterator

import torch
from torch import Tensor

from restore.config.inference import Inference
from restore.data.labels import Labels
from restore.image.decoded_image import to_float
from restore.inference.accelerator_memory import InMemory, budget_gb
from restore.inference.restorer import Report, Restorer, as_lq, pick_device, use_bf16
from restore.io.errors import SettingError
from restore.networks.contract import Progress, RestorationNetwork
from restore.ops import tiling
from restore.ops.resize import resize

PROGRAM = 800 * 2**20  # bytes used by Python with PyTorch
MAX_SIDE_RATIO = 16  # longer side / shorter side of an image for a network of one size; beyond, it is a line
ROWS = 2048  # assumed maximum height of a row of tiles, in rows


class NetworkRestorer(Restorer):
    """Runs a trained network on the whole image or tile by tile.

    Args:
        name: for tables and file names.
        network: rebuilt from a checkpoint.
        inference: how to run it.
    """

    scale: int

    def __init__(self, name: str, network: RestorationNetwork, inference: Inference) -> None:
        self.ensemble = inference.ensemble(default=False)
        self.name, self.inference = name + ("+ensemble" if self.ensemble else ""), inference
        self.device = pick_device(inference.device)
        self.network = network.eval().to(self.device)
        self.scale, self.in_channels, self.input_kind = int(network.scale), network.in_channels, network.input_kind
        self.multiple_of, self.min_size, self.halo = network.multiple_of, network.min_size, network.halo
        self.protocol, self.keeps_kind = network.protocol, network.keeps_kind
        self.labels = None if network.label_settings is None else Labels.of(network.label_settings)
        self._context = inference.tile_overlap if network.halo is None else network.halo
        self._in_memory = InMemory(self._run, network, self._context)
        if network.why_no_tiles is not None and inference.tile not in ("auto", "none"):
            expected = f"auto or none: {name} restores an image as a whole, because {network.why_no_tiles}"
            raise SettingError("tile", inference.tile, expected, "leave tile out")

    def tile_for(self, size: tuple[int, int]) -> int | None:
        """The tile side for an image of (height, width), or None to run it as a whole."""
        choice = str(self.inference.tile)
        if choice == "none":
            return None
        if choice != "auto":
            return tiling.round_up(int(choice), self.multiple_of)
        if self.network.why_no_tiles is not None:
            self._refuse_too_large(size)
            return None
        largest = tiling.largest_tile(
            size,
            bytes_per_pixel=self.network.bytes_per_pixel,
            memory_gb=budget_gb(self.inference.memory_gb, self.device),
            halo=self._context,
            multiple_of=self.multiple_of,
            reserved=self._reserved_bytes(size),
        )
        return None if largest is None else tiling.even_tile(size, largest, self.multiple_of)

    def _reserved_bytes(self, size: tuple[int, int]) -> int:
        """Bytes that an image of (height, width) takes in addition to its tiles.

        These are the 8-bit input and output, one row of tiles as float (with self-ensemble, three whole results), and
        Python with PyTorch, which counts only for large images.
        """
        height, width = size
        area = self.scale**2
        levels = 3 * height * width * (1 + area)
        rows = 3 * height if self.ensemble else min(height, ROWS)
        return levels + 12 * area * width * rows + min(PROGRAM, 2 * levels)

    def _refuse_too_large(self, size: tuple[int, int]) -> None:
        height, width = (tiling.round_up(max(length, self.min_size), self.multiple_of) for length in size)
        needed = height * width * self.network.bytes_per_pixel / 2**30
        if needed > self.inference.memory_gb:
            smaller = "shrink the image" if self.network.image_side is None else "crop its longer side"
            raise SettingError(
                "memory_gb",
                f"{self.inference.memory_gb:g}",
                f"about {needed:.1f} for an image of {size[1]}x{size[0]} px, which cannot be cut into tiles, because "
                f"{self.network.why_no_tiles}",
                f"set memory_gb={needed + 0.05:.1f} if the machine has as much, or {smaller}",
            )

    def _refuse_too_long(self, height: int, width: int) -> None:
        """Refuse an image that would become thousands of pixels long at the side that the network works at."""
        if max(height, width) > MAX_SIDE_RATIO * min(height, width):
            raise SettingError(
                "image",
                f"{width}x{height} px",
                f"a longer side of at most {MAX_SIDE_RATIO} times the shorter one, because {self.name} brings the "
                f"shorter one to {self.network.image_side} px",
                "crop it, or add a margin to the shorter side",
            )

    def _bands(self, image: Tensor, report: Report) -> Iterator[Tensor]:
        """If the network works at one image size, resize to it and back."""
        report(0, 1)
        side, size = self.network.image_side, (image.shape[-2], image.shape[-1])
        if side is None or side == min(size):
            yield from self._bands_at_size(image, report)
            return
        self._refuse_too_long(*size)
        scale = side / min(size)
        inner = max(side, round(size[0] * scale)), max(side, round(size[1] * scale))
        lq = resize(as_lq(image), scale, size=inner).clamp(0, 1)
        pred = tiling.joined(self._bands_at_size(lq, report), inner[0] * self.scale)
        yield resize(pred, 1 / scale, size=(size[0] * self.scale, size[1] * self.scale))

    def _bands_at_size(self, image: Tensor, report: Report) -> Iterator[Tensor]:
        """With self-ensemble all rows are one band, because the mean over 8 views is computed as a whole."""
        if self.ensemble:
            yield self._mean_of_views(as_lq(image)[None], report)[0]
            return
        for band in self._batch_bands(image[None], report):
            yield band[0]
            del band  # frees it before the next one is computed

    def _mean_of_views(self, lq: Tensor, report: Progress) -> Tensor:
        seen = 0

        def forward(view: Tensor) -> Tensor:
            nonlocal seen
            before, seen = seen, seen + 1
            bands = self._batch_bands(view, lambda done, total: report(before * total + done, 8 * total))
            return tiling.joined(bands, view.shape[-2] * self.scale)

        return tiling.self_ensemble(forward, lq)

    def _batch_bands(self, batch: Tensor, report: Progress) -> Iterator[Tensor]:
        """(1, C, H, W) float or levels -> float32, (1, 3, h, scale W), on the CPU: whole, or one row of tiles each."""
        tile = self.tile_for((batch.shape[-2], batch.shape[-1]))
        if tile is None:
            pred = self._in_memory(self.network.restore_whole, self._loaded(batch))
            report(1, 1)
            yield pred.to("cpu", torch.float32)
            return
        bands = tiling.bands(
            lambda piece: self._in_memory(self.network, piece),
            batch,
            scale=self.scale,
            tile=tile,
            halo=self._context,
            multiple_of=self.multiple_of,
            min_size=self.min_size,
            blend=self.halo is None,
            progress=report,
            load=self._loaded,
        )
        for band in bands:
            yield band.to("cpu", torch.float32)
            del band

    def _loaded(self, piece: Tensor) -> Tensor:
        """Move to the device; convert 8- or 16-bit levels to float."""
        lq = piece.to(torch.float32) if piece.is_floating_point() else to_float(piece).expand(-1, 3, -1, -1)
        return lq.to(self.device)

    def _run(self, forward: tiling.Forward, lq: Tensor) -> Tensor:
        in_bf16 = use_bf16(self.inference.precision, self.device.type)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=in_bf16):
            return forward(lq)
