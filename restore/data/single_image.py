"""Data for zero-shot super-resolution: pairs from a single image."""

import logging
import math
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from restore.data.internal_pairs import CropSettings, InternalPairs, Pyramids, Shrink, pyramid
from restore.data.sampling import RunSampler
from restore.image import reading
from restore.io.errors import SettingError
from restore.io.files import printable
from restore.ops.resize import new_length, resize

log = logging.getLogger(__name__)

ShrinkTo = Callable[[Tensor, float, tuple[int, int]], Tensor]  # arguments: image, factor, size of the result

LARGEST_FATHER = 2048  # pixels; a larger image is cropped to its middle, because more would only cost memory


class SingleImageData(LightningDataModule):
    """Crops from the pyramid of one image: fathers are the image and smaller copies of it, sons are downscaled fathers.

    Shocher, Cohen, Irani, CVPR 2018, section 3.1. A batch has ``lq``, crops of sons, as a rule enlarged to the
    size of their fathers; ``gt``, the same crops of the fathers, both float (N, 3, h, w) with h = w at most
    ``patch_size``; and ``name``. The model supplies the fathers, because it adds more during training (:meth:`add`).

    Args:
        image: image file, or float (3, H, W) in [0, 1].
        scale: the model's; for validation the whole image is downscaled by it and enlarged again.
        patch_size, batch_size, noise: see :class:`restore.data.internal_pairs.CropSettings`.
        seed: for levels, crops, turns and noise.

    Attributes:
        enlarged: the image to enlarge, float (3, h, w): the whole image, unless it is set to a part of it.
        shrink_whole: downscales the image for validation; the model sets its own, which may use a blur kernel.
        warnings: always empty.

    Raises:
        SettingError: a setting is out of bounds, or the file is not an image.
    """

    kind: ClassVar[str] = "single_image"  # see PairedData
    num_workers: ClassVar[int] = 0  # workers would not see fathers added during training
    label_settings = None  # see PairedData

    def __init__(
        self,
        *,
        image: str | Tensor,
        scale: float = 2.0,
        patch_size: int = CropSettings.patch_size,
        batch_size: int = CropSettings.batch_size,
        noise: float = CropSettings.noise,
        seed: int = 0,
    ) -> None:
        super().__init__()
        settings = CropSettings(patch_size=patch_size, batch_size=batch_size, noise=noise)
        self.stem = printable(Path(image).stem) if isinstance(image, str) else "image"
        self.image = _read(image) if isinstance(image, str) else image
        self.enlarged = self.image
        self.scale, self.patch_size, self.batch_size, self.noise, self.seed = scale, patch_size, batch_size, noise, seed
        self.shrink_whole: ShrinkTo = _bicubic
        self.warnings: list[str] = []
        self.pairs = InternalPairs(settings, seed)

    @property
    def validation_names(self) -> list[str]:
        """The name of the image."""
        return [self.stem]

    test_names = validation_names

    def prepare(self) -> dict[str, str]:
        """Validate the image.

        Returns:
            The image's fingerprint, SHA-256 over the pixels.

        Raises:
            SettingError: downscaled for validation, the image would be smaller than SSIM's window.
        """
        least = math.ceil(self.scale) * 3 + 11
        height, width = self.image.shape[1:]
        if min(height, width) < least:
            raise SettingError(
                "data.image",
                f"{self.stem} of {width}x{height} px",
                f"sides of at least {least} px, to validate on",
                "use `restore predict`, which takes any size",
            )
        log.info("the scores compare the image with its shrunk and restored version; training uses this pair, too")
        return {self.stem: sha256(self.image.numpy().tobytes()).hexdigest()}

    def add(self, fathers: Sequence[Tensor], shrink: Shrink, factor: float, *, zoom: int, from_batch: int) -> None:
        """Train on these images, starting at a given batch.

        Args:
            fathers: float, (3, H, W) each.
            shrink: makes the sons, ``factor`` times smaller. zoom: 1 to enlarge them again, else ``factor``.
            from_batch: at least one batch ahead of the loader, which prefetches.
        """
        levels = [
            level for father in fathers for level in pyramid(_middle(father, LARGEST_FATHER), shrink, factor, zoom)
        ]
        self.pairs.pyramids.append(Pyramids(from_batch, factor, zoom, levels))

    def middle(self, total: float) -> Tensor:
        """The image to enlarge, (3, h, w); if ``total`` would enlarge it beyond the largest father, only its middle."""
        return _middle(self.enlarged, max(1, int(LARGEST_FATHER / total)))

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of the whole run, starting at the step from which the run resumes."""
        trainer: Any = self.trainer
        batches = trainer.max_steps * trainer.accumulate_grad_batches
        start = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        # no workers: a crop is cheaper to make than to send, and the fathers change during training
        return DataLoader(self.pairs, batch_sampler=RunSampler(batches, self.batch_size, start=start))

    def val_dataloader(self) -> DataLoader[Any]:
        """The image itself as reference, downscaled by ``scale`` as input."""
        return DataLoader(_Whole(self))

    test_dataloader = val_dataloader


class _Whole(Dataset[dict[str, Any]]):
    def __init__(self, data: SingleImageData) -> None:
        self.data = data

    def __len__(self) -> int:
        return 1

    def __getitem__(self, i: int) -> dict[str, Any]:
        scale, image = self.data.scale, self.data.image
        small = [int(length / scale + 1e-9) for length in image.shape[1:]]
        gt = image[:, : new_length(small[0], scale), : new_length(small[1], scale)]
        lq = self.data.shrink_whole(gt, scale, (small[0], small[1])).clamp(0, 1)
        return {"lq": lq, "gt": gt, "name": self.data.stem}


def _bicubic(image: Tensor, factor: float, size: tuple[int, int]) -> Tensor:
    return resize(image, 1 / factor, size=size)


def _read(path: str) -> Tensor:
    try:
        return reading.read(path).rgb()
    except (ValueError, OSError) as error:
        raise SettingError("data.image", path, f"an image file that can be read ({error})") from error


def _middle(image: Tensor, side: int) -> Tensor:
    top, left = (max(0, (length - side) // 2) for length in image.shape[1:])
    return image[:, top : top + side, left : left + side]
