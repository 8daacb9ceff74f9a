"""Third-party weights of image restoration networks, recognised by spandrel."""

import logging
import math
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from restore.checkpoints import reader
from restore.io.errors import SettingError
from restore.networks.contract import RestorationNetwork
from restore.ops import tiling

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

log = logging.getLogger(__name__)

PROBE = 64  # lq pixels; side of the image on which memory is measured
MARGIN = 1.5  # for memory that convolutions and the allocator hold in addition to the maps


def load_foreign(path: Path, unknown: SettingError) -> "ForeignNetwork":
    """Load a network of another project from a file that is not ours.

    Spandrel recognises the architecture from the weights. It gets tensors that were read so that no file can run code.

    Args:
        unknown: the reason why the file is not ours, raised if spandrel does not know it either.

    Raises:
        ValueError: spandrel is not installed or does not know the weights, or they do not restore RGB images.
    """
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError:
        install = "pip install -c constraints.txt '.[foreign]'"
        remedy = f"{unknown.remedy}; for weights of other projects in a checkout: {install}"
        raise SettingError("ckpt_path", path, unknown.expected, remedy) from unknown
    weights = reader.content(path, setting="ckpt_path")
    if not isinstance(weights, dict):
        raise unknown
    try:
        found: Any = ModelLoader("cpu").load_from_state_dict(weights)
    except (UnsupportedModelError, KeyError, IndexError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        expected = f"{unknown.expected}, or weights that spandrel knows ({type(error).__name__})"
        export = "restore export format=safetensors model=<its name> ckpt_path=..."
        remedy = f"where the weights belong to an architecture of this package: {export}"
        remedy = f"{unknown.remedy}, or, {remedy}" if unknown.remedy else remedy
        raise SettingError("ckpt_path", path, expected, remedy) from error
    kinds = {"SR", "Restoration"}
    if not isinstance(found, ImageModelDescriptor) or found.purpose not in kinds or found.size_requirements.square:
        raise SettingError(
            "ckpt_path", path, f"a network that restores whole images, but it is one of {found.architecture.name}"
        )
    if (found.input_channels, found.output_channels) != (3, 3):
        channels = f"{found.input_channels} in and {found.output_channels} out"
        expected = f"3 channels in and out, RGB, but {found.architecture.name} has {channels}"
        raise SettingError("ckpt_path", path, expected)
    return ForeignNetwork(found).eval()


class ForeignNetwork(RestorationNetwork):
    """A network of another project, with our contract.

    Its receptive radius is unknown, so a large image is cut into tiles that overlap by ``tile_overlap`` and are
    blended. The memory per pixel is measured on a small image.
    """

    def __init__(self, found: "ImageModelDescriptor[Any]") -> None:
        from spandrel import ModelTiling

        super().__init__()
        self.descriptor = found
        self.network = found.model
        self.scale = found.scale
        self.multiple_of = found.size_requirements.multiple_of
        self.min_size = max(1, found.size_requirements.minimum)
        self.protocol = "sr_y" if self.scale > 1 else "deblur_rgb"
        if found.tiling == ModelTiling.INTERNAL:
            self.why_no_tiles = f"{found.architecture.name} cuts it into parts itself"
        self.eval()
        self.bytes_per_pixel = self._measured()
        log.info("these weights are of another project: %s, x%d", found.architecture.name, self.scale)

    def forward(self, lq: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 3, scale H, scale W)."""
        pred: Tensor = self.descriptor(lq)
        return pred

    def _measured(self) -> int:
        side = tiling.round_up(max(PROBE, self.min_size), self.multiple_of)
        with torch.inference_mode(), _Peak() as peak:
            self(torch.rand(1, 3, side, side))
        most: int = peak.most
        return math.ceil(MARGIN * most / side**2)


class _Peak(TorchDispatchMode):
    """Measures the peak number of bytes of tensors alive at the same time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of torch, without types
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, Tensor):
                self._count(each.untyped_storage())
        self.most = max(self.most, self.now)
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
