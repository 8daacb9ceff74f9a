"""A trained network as a restorer: whole, or tile by tile within a memory budget."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from restore.config.inference import Inference
from restore.data.labels import Labels
from restore.image.picture import to_float
from restore.inference.restorer import Progress, Restorer, pick_device, reporter
from restore.models.base import RestorationModel
from restore.ops import tiling

PROGRAM = 800 * 2**20  # bytes of Python with PyTorch and Lightning
ROWS = 2048  # of a row of tiles, reckoned


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
                f"memory_gb is {self.inference.memory_gb:g}, but a picture of {size[1]}x{size[0]} px needs about "
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
        report = reporter(progress, cancel=cancel)
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
