"""Data for zero-shot super-resolution: the pairs an image gives about itself."""

import math
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from restore.data.sampling import RunSampler, flip_and_turn, generator_of_batch, generator_of_sample
from restore.image import reading
from restore.io.names import printable
from restore.ops.resize import new_length, resize

Shrink = Callable[[Tensor], Tensor]
ShrinkTo = Callable[[Tensor, float, tuple[int, int]], Tensor]  # image, factor, size of the result

LEVELS = 6  # fathers of one image, from its full size to half of it
LARGEST_FATHER = 2048  # a larger image trains on its middle; more would only cost memory


class Level(NamedTuple):
    """An ``hr_father`` of the pyramid, float (3, H, W), and its ``lr_son`` enlarged back to the same size."""

    father: Tensor
    son_enlarged: Tensor


class Stage(NamedTuple):
    """What is drawn from, beginning with batch ``first``; sons are ``factor`` times smaller than their fathers."""

    first: int
    factor: float
    levels: list[Level]


class SingleImageData(LightningDataModule):
    """Crops of one image's pyramid: fathers are the image and smaller sharp copies of it, sons are fathers shrunk.

    Shocher, Cohen, Irani, CVPR 2018, section 3.1. A batch is ``lq``: crops of sons, already enlarged to their fathers'
    size, ``gt``: the same crops of the fathers, both float (N, 3, h, w) with h = w at most ``patch_size``, and
    ``name``. The model hands in the fathers, because it makes more of them while it trains (:meth:`add`).

    Args:
        image: picture file, or float (3, H, W) in [0, 1].
        scale: of the model; the whole image is validated by shrinking it so much and enlarging it again.
        patch_size: side of a crop in the father's pixels; a smaller father gives its shorter side.
        batch_size: crops of one step, all of the same level.
        noise: standard deviation of Gaussian noise on the sons, for photos that are not clean (the paper: 0.0125).
        seed: of levels, crops, turns and noise.

    Attributes:
        shrink_whole: how the image is made small to validate on; the model hands its own in, which may use a kernel.
        warnings: none, so far.

    Raises:
        ValueError, FileNotFoundError: a setting out of its bounds, or a file that is no picture.
    """

    label_settings = None  # see PairedData

    def __init__(
        self,
        *,
        image: str | Tensor,
        scale: float = 2.0,
        patch_size: int = 128,
        batch_size: int = 1,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if patch_size < 1 or batch_size < 1:
            raise ValueError(
                f"data.patch_size is {patch_size} and data.batch_size is {batch_size}, expected at least 1 of each"
            )
        if not 0 <= noise < 1:
            raise ValueError(f"data.noise is {noise}, expected at least 0 and below 1, for example 0.0125")
        self.stem = printable(Path(image).stem) if isinstance(image, str) else "image"
        self.image = _read(image) if isinstance(image, str) else image
        self.scale, self.patch_size, self.batch_size, self.noise, self.seed = scale, patch_size, batch_size, noise, seed
        self.shrink_whole: ShrinkTo = _bicubic
        self.warnings: list[str] = []
        self.pairs = InternalPairs(patch_size=patch_size, batch_size=batch_size, noise=noise, seed=seed)

    @property
    def validation_names(self) -> list[str]:
        """The image itself."""
        return [self.stem]

    test_names = validation_names

    def prepare(self) -> dict[str, str]:
        """Validate before training.

        Returns:
            The image's fingerprint.

        Raises:
            ValueError: shrunk and scored against itself it would leave less than SSIM's window.
        """
        least = math.ceil(self.scale) * 3 + 11
        if min(self.image.shape[1:]) < least:
            size = "x".join(map(str, self.image.shape[1:]))
            raise ValueError(
                f"data.image: {self.stem} is {size} px, expected sides of at least {least} px to validate on; "
                "use `restore predict`, which takes any size"
            )
        return {self.stem: sha256(self.image.numpy().tobytes()).hexdigest()}

    def add(self, fathers: Sequence[Tensor], shrink: Shrink, factor: float, *, from_batch: int) -> None:
        """Train on these images from a batch on.

        Args:
            fathers: float, (3, H, W) each.
            shrink: makes the sons. factor: by how much it shrinks.
            from_batch: at least one batch ahead of the loader, which reads in advance.
        """
        levels = [level for father in fathers for level in _pyramid(_middle(father, LARGEST_FATHER), shrink, factor)]
        self.pairs.stages.append(Stage(from_batch, factor, levels))

    def middle(self, total: float) -> Tensor:
        """The image, or so much of its middle as ``total`` enlarges to a father worth having: float, (3, h, w)."""
        return _middle(self.image, max(1, int(LARGEST_FATHER / total)))

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of the whole run, starting where a resumed run stopped."""
        trainer: Any = self.trainer
        batches = trainer.max_steps * trainer.accumulate_grad_batches
        start = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        # read in this process: a crop costs less than handing it over, and the fathers change on the way
        return DataLoader(self.pairs, batch_sampler=RunSampler(batches, self.batch_size, start=start))

    def val_dataloader(self) -> DataLoader[Any]:
        """The image against itself, shrunk by ``scale``."""
        return DataLoader(_Whole(self))

    test_dataloader = val_dataloader


class InternalPairs(Dataset[dict[str, Any]]):
    """Crop ``i`` of a run, a function of (seed, i) and of the fathers in force at its batch.

    Attributes:
        stages: in order; the last one that has begun is in force.
    """

    def __init__(self, *, patch_size: int, batch_size: int, noise: float, seed: int) -> None:
        self.patch_size, self.batch_size, self.noise, self.seed = patch_size, batch_size, noise, seed
        self.stages: list[Stage] = []

    def __getitem__(self, i: int) -> dict[str, Any]:
        batch = i // self.batch_size
        stage = next(stage for stage in reversed(self.stages) if stage.first <= batch)
        father, son = stage.levels[self._level(stage.levels, batch)]
        random = generator_of_sample(self.seed, i)
        side = min(self.patch_size, *father.shape[1:])
        top, left = (int(random.integers(length - side + 1)) for length in father.shape[1:])
        symmetry = int(random.integers(8))
        gt, lq = (part[:, top : top + side, left : left + side] for part in (father, son))
        if self.noise:
            lq = lq + _noise(side, stage.factor, self.noise, int(random.integers(2**31)))
        # contiguous: a view would make the collation copy the whole father's rows
        return {
            "lq": flip_and_turn(lq, symmetry).contiguous(),
            "gt": flip_and_turn(gt, symmetry).contiguous(),
            "name": "",
        }

    def _level(self, levels: list[Level], batch: int) -> int:
        """Drawn with a probability proportional to the pixel count; one level for a whole batch, one size of crops."""
        pixels = [level.father[0].numel() for level in levels]
        share = [count / sum(pixels) for count in pixels]
        return int(generator_of_batch(self.seed, batch).choice(len(levels), p=share))


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
        raise type(error)(f"data.image: {error}") from error


def _middle(image: Tensor, side: int) -> Tensor:
    top, left = (max(0, (length - side) // 2) for length in image.shape[1:])
    return image[:, top : top + side, left : left + side]


def _pyramid(father: Tensor, shrink: Shrink, factor: float) -> Iterator[Level]:
    for k in range(LEVELS):
        size = 0.5 ** (k / (LEVELS - 1))
        smaller = resize(father, size) if k else father
        height, width = smaller.shape[1:]
        son = shrink(smaller)
        yield Level(smaller, resize(son, factor, size=(height, width)))


def _noise(side: int, factor: float, deviation: float, seed: int) -> Tensor:
    """White noise of a son's size, enlarged as the son is."""
    small = math.ceil(side / factor)
    white = torch.randn(3, small, small, generator=torch.Generator().manual_seed(seed))
    return resize(white * deviation, factor, size=(side, side))
