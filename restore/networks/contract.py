"""The contract of networks for inference: facts, and how to run on an image of any size."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import Tensor, nn

from restore.networks.arguments import ArgumentError
from restore.ops import tiling

Forward = tiling.Forward
InputKind = Literal["rgb", "labels"]
Progress = Callable[[int, int], None]  # arguments: pieces done, total pieces


class RestorationNetwork(nn.Module):
    """A network that restores images, with everything that predict, evaluate, serve and export need to know.

    Attributes:
        scale: output side / input side.
        in_channels, input_kind: channels of lq, and whether they are colours or labels.
        multiple_of, min_size: sides of lq accepted by :meth:`forward`; :meth:`restore_whole` pads other sizes.
        halo: receptive radius in lq pixels, or None if the output depends on the whole image.
        protocol: name of the protocol that scores it.
        bytes_per_pixel: peak memory of an inference in float32, per lq pixel.
        why_no_tiles: the reason why an image cannot be restored in tiles; None if it can.
        keeps_kind: whether pred is the same kind of image as lq; if not, greyness, depth and transparency of the input
            do not apply to the output.
        image_side: shorter side in pixels to which every image is resized for restoration; None: no resizing.
        label_settings: how label maps are read if they are the input; None if they are not, or if it is not known.
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
        """``forward`` without parts that a graph for any size cannot contain, such as a choice of memory layout."""
        return self

    def restore_whole(self, lq: Tensor) -> Tensor:
        """``forward`` for any H, W of at least 1: pads the input as the network needs it, and crops the output."""
        return tiling.whole(self, lq, scale=self.scale, multiple_of=self.multiple_of, min_size=self.min_size)

    def pool_locally(self, window: int) -> None:
        """Replace means over the whole image by means over ``window`` lq pixels, in networks with such means.

        Raises:
            ValueError: this network has none.
        """
        raise ArgumentError("window", window, "None, because this network takes no mean over the image")

    def init_from(self, weights: Mapping[str, Tensor]) -> dict[str, list[str]]:
        """Load another network's weights where names and shapes agree.

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
