"""What inference needs of a network: its facts, and how it runs on an image of any size."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import Tensor, nn

from restore.networks.arguments import ArgumentError
from restore.ops import tiling

Forward = tiling.Forward
InputKind = Literal["rgb", "labels"]
Progress = Callable[[int, int], None]  # called with the pieces done, and the pieces in all


class RestorationNetwork(nn.Module):
    """A network that restores images, with everything that predict, evaluate, serve and export need of it.

    Attributes:
        scale: output side / input side.
        in_channels, input_kind: channels of lq, and whether they are colours or labels.
        multiple_of, min_size: sides of lq that :meth:`forward` takes; :meth:`restore_whole` pads others.
        halo: receptive radius in lq pixels, or None when the output depends on the whole image.
        protocol: the metrics it is scored by.
        bytes_per_pixel: memory of one lq pixel at the peak of an inference in float32.
        why_no_tiles: the reason, where an image cannot be restored in tiles; None where it can.
        keeps_kind: whether pred is the same kind of image as lq; else greyness, depth and transparency of the input
            say nothing about the output.
        image_side: shorter side in pixels at which an image is restored, whatever its size; None: as it is.
        label_settings: how label maps are read, where lq is made of them; None else, or where that is not known.
    """

    scale: float
    in_channels: int = 3
    input_kind: InputKind = "rgb"
    multiple_of: int = 1
    min_size: int = 1
    halo: int | None = None
    protocol: str
    bytes_per_pixel: int
    why_no_tiles: str | None = None
    keeps_kind: bool = True
    image_side: int | None = None
    label_settings: dict[str, Any] | None = None

    def forward(self, lq: Tensor) -> Tensor:
        """(N, in_channels, H, W) in [0, 1] -> (N, 3, scale H, scale W), not clamped."""
        raise NotImplementedError

    def traceable(self) -> Forward:
        """``forward`` without what a graph for any size cannot hold, such as a choice of memory layout."""
        return self

    def restore_whole(self, lq: Tensor) -> Tensor:
        """``forward`` for any H, W of at least 1: padded as the network needs it, and cropped back."""
        return tiling.whole(self, lq, scale=self.scale, multiple_of=self.multiple_of, min_size=self.min_size)

    def pool_locally(self, window: int) -> None:
        """Replace means over the whole image by means over ``window`` lq pixels, for networks that have such means.

        Raises:
            ValueError: this one has none.
        """
        raise ArgumentError("window", window, "None, because this network takes no mean over the image")

    def init_from(self, weights: Mapping[str, Tensor]) -> dict[str, list[str]]:
        """Start from another network's weights where names and shapes agree.

        Returns:
            Names under ``missing`` (kept at their initial values), ``unexpected`` and ``reshaped`` (both ignored).

        Raises:
            ValueError: no name and shape agrees.
        """
        own = self.state_dict()
        report = {
            "missing": [name for name in own if name not in weights],
            "unexpected": [name for name in weights if name not in own],
            "reshaped": [name for name in own if name in weights and own[name].shape != weights[name].shape],
        }
        fitting = {k: v for k, v in weights.items() if k in own and k not in report["reshaped"]}
        if not fitting:
            raise ValueError("none of the weights fits this network by name and shape")
        self.load_state_dict(fitting, strict=False)
        return report
