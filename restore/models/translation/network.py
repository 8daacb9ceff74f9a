"""The translation network for inference: makes the input pyramid, and returns the highest trained level."""

from collections.abc import Sequence
from functools import partial
from typing import get_args

from torch import Tensor

from restore.io.errors import SettingError
from restore.networks.arguments import ArgumentError
from restore.networks.contract import InputKind
from restore.networks.multires_translation import MultiResTranslation
from restore.ops import tiling
from restore.ops.resize import Interpolation, pyramid, resize
from restore.ops.tiling import Forward

Pyramid = list[Tensor]


class TranslationNetwork(MultiResTranslation):
    """Makes a pyramid of its input, and returns the output of the highest level that has been trained.

    Args:
        levels, width, blocks, in_channels: see :class:`MultiResTranslation`.
        input_kind: ``rgb``, or ``labels``, whose pyramid always uses the nearest pixel.
        interpolation: for the pyramids: ``nearest``, ``bilinear``, ``bicubic`` or ``lanczos``.
        image_side: see :class:`RestorationNetwork`; for images of one size, such as icons; only with ``rgb``.

    Raises:
        ValueError: another value.
    """

    def __init__(
        self,
        *,
        levels: int = 3,
        width: int = 32,
        blocks: int = 9,
        in_channels: int = 3,
        input_kind: InputKind = "rgb",
        interpolation: Interpolation = "bicubic",
        image_side: int | None = None,
    ) -> None:
        for name, value, known in (
            ("input_kind", input_kind, InputKind),
            ("interpolation", interpolation, Interpolation),
        ):
            if value not in get_args(known):
                raise SettingError(f"model.{name}", value, " or ".join(get_args(known)))
        super().__init__(levels=levels, width=width, blocks=blocks, in_channels=in_channels)
        if image_side is not None and (input_kind == "labels" or image_side < 1):
            expected = "null, or for model.input_kind=rgb a number of pixels"
            raise SettingError("model.image_side", image_side, expected)
        self.input_kind, self.interpolation, self.image_side = input_kind, interpolation, image_side

    def train_levels(self, levels: Sequence[int], *, top: int) -> None:
        """Make only the modules of these levels trainable; ``top`` is the highest level in use."""
        self.requires_grad_(False)
        for level in levels:
            for module in self.modules_of(level):
                module.requires_grad_(True)
        self.top.fill_(top)

    def forward(self, lq: Tensor) -> Tensor:
        """(N, in_channels, H, W) in [0, 1] -> (N, 3, H, W) in [0, 1]; sides multiples of ``multiple_of``.

        While the highest levels are untrained, this is the output of the highest trained level, enlarged bicubically.
        """
        return self._highest(lq, int(self.top))

    def traceable(self) -> Forward:
        """``forward`` with the present trained level as a constant of the graph."""
        return partial(self._highest, top=int(self.top))

    def _highest(self, lq: Tensor, top: int) -> Tensor:
        pred = self.highest(self.input_pyramid(lq), top)
        return resize(pred, 2**top) if top else pred

    def level_outputs(self, lq: Tensor) -> list[Tensor | None]:
        """The outputs of all levels, from low to high, enlarged to the size of the highest by repeating pixels.

        Args:
            lq: float, (N, in_channels, H, W), [0, 1], any H, W.

        Returns:
            (N, 3, H, W) each; None for a level that is not trained yet.
        """
        height, width = lq.shape[-2:]
        top = int(self.top)
        padded = tiling.pad(lq, multiple_of=self.multiple_of, min_size=self.min_size)
        found = self.outputs(self.input_pyramid(padded), top)
        shown = [
            each.repeat_interleave(2**r, -1).repeat_interleave(2**r, -2)[..., :height, :width]
            for r, each in enumerate(found, start=top)
        ]
        return [*reversed(shown), *[None] * top]

    def pool_locally(self, window: int) -> None:
        """Not supported; raises."""
        raise ArgumentError(
            "window", window, f"None, because translation is not possible in parts: {self.why_no_tiles}"
        )

    def input_pyramid(self, lq: Tensor) -> Pyramid:
        """The input, (N, in_channels, H, W), at every resolution, the full one first."""
        return self.pyramid(lq, "nearest" if self.input_kind == "labels" else self.interpolation)

    def pyramid(self, image: Tensor, interpolation: Interpolation) -> Pyramid:
        """An image, (N, C, H, W) in [0, 1], at every resolution, the full one first."""
        # clamped, because cubic and Lanczos kernels overshoot the range of the outputs
        return [each.clamp(0, 1) for each in pyramid(image, len(self.levels), interpolation)]
