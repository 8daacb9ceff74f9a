"""The data set for translation: crops numbered through a whole run, and whole images to validate and evaluate.

Samples are as in :mod:`restore.data.datasets`, with lq (in_channels, h, w) and gt (3, h, w) of the same size.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from torch.utils.data import Dataset

from restore.data.ab_folders import Direction, Layout
from restore.data.cache import ImageCache, PairSource
from restore.data.datasets import Sample, degrade
from restore.data.file_checks import Checked, SmallestSide, check_pairs, smallest_scored
from restore.data.labels import Labels
from restore.data.pair import DecodedPair, Pair
from restore.data.pair_reader import PairReader
from restore.data.sampling import generator_of_sample, image_of_sample
from restore.image.decoded_image import to_float
from restore.io.errors import SettingError
from restore.networks.contract import InputKind

if TYPE_CHECKING:  # see datasets
    from restore.degradations.basic import Degradation

MAX_ENLARGEMENT = 4


class TranslationCrops(Dataset[Sample]):
    """Random square crops, half of them mirrored, identical for lq and gt; sample ``i`` is a function of (seed, i).

    Args:
        reader: reads pairs at the size from which crops are cut.
        source: source of pairs read by ``reader``.
        patch_size: side of the crop.
        flip: whether to mirror half of the crops left to right.
        count: number of samples in the run.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        reader: PairReader,
        source: PairSource,
        *,
        patch_size: int,
        flip: bool,
        count: int,
        seed: int,
    ) -> None:
        self.pairs, self.reader, self.source, self.patch_size = pairs, reader, source, patch_size
        self.flip, self.count, self.seed = flip, count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Sample:
        pair = self.pairs[image_of_sample(self.seed, i, len(self.pairs))]
        random = generator_of_sample(self.seed, i)
        is_mirrored = bool(random.integers(2)) and self.flip
        decoded = self.source.get(pair, self.reader.read)
        height, width = decoded.gt.shape[1:]
        top, left = (int(random.integers(side - self.patch_size + 1)) for side in (height, width))

        def cut(pixels: Tensor) -> Tensor:
            crop = pixels[:, top : top + self.patch_size, left : left + self.patch_size]
            self.source.expect(crop)
            return crop.flip(2) if is_mirrored else crop

        if decoded.lq is None:
            lq, words = degrade(decoded.gt, 1, self.reader.degradations, random)
            lq = cut(lq)
        else:
            lq, words = self.reader.encode(cut(decoded.lq)), decoded.degradation
        return {"lq": lq.contiguous(), "gt": to_float(cut(decoded.gt)), "name": pair.name, "degradation": words}


class TranslationImages(Dataset[Sample]):
    """Whole images in order.

    Args:
        reader: reads pairs at the size for validation.
        seed: for degradations that draw random numbers.
    """

    def __init__(self, pairs: Sequence[Pair], reader: PairReader, *, seed: int = 0) -> None:
        self.pairs, self.reader, self.seed = pairs, reader, seed

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> Sample:
        pair = self.pairs[i]
        decoded = self.reader.read(pair)
        if decoded.lq is None:
            lq, words = degrade(decoded.gt, 1, self.reader.degradations, generator_of_sample(self.seed, i))
        else:
            lq, words = self.reader.encode(decoded.lq), decoded.degradation
        return {"lq": lq, "gt": to_float(decoded.gt), "name": pair.name, "degradation": words}


class TranslationSource:
    """Finds, validates and reads the pairs of a data set, for training and for ``restore evaluate``.

    Args: see :class:`restore.data.translation.TranslationData`.

    Attributes:
        layout: finds the pairs.
        reader: reads them at the size for validation.
        label_settings: of label maps, as plain values; None if the inputs are images.
        smallest_whole: minimum side of an image, as stored in its file.

    Raises:
        SettingError: the settings contradict each other.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        input_kind: InputKind,
        palette: list[list[int]] | None,
        classes: int | None,
        one_hot: bool,
        snap_distance: float,
        snap_share: float,
        direction: Direction,
        folder_a: str,
        folder_b: str,
        load_size: int | None,
        patch_size: int,
        degradations: "Sequence[Degradation]",
    ) -> None:
        if input_kind not in ("rgb", "labels"):
            raise SettingError("data.input_kind", input_kind, "rgb or labels")
        if input_kind == "rgb" and one_hot:
            raise SettingError("data.one_hot", True, "false for data.input_kind=rgb", "set data.input_kind=labels")
        of_labels = {"palette": palette, "classes": classes, "one_hot": one_hot}
        of_snapping = {"snap_distance": snap_distance, "snap_share": snap_share}
        labels = Labels.of(of_labels | of_snapping) if input_kind == "labels" else None
        if labels is not None and degradations:
            raise SettingError(
                "data.degradations",
                "a list of degradations, which make images",
                "[] for data.input_kind=labels",
                "set data.degradations=[], or data.input_kind=rgb",
            )
        self.layout = Layout(direction=direction, folder_a=folder_a, folder_b=folder_b, is_made=bool(degradations))
        side = None if load_size is None else patch_size
        self.reader = PairReader(labels=labels, degradations=degradations, side=side)
        _check_channels(in_channels, self.reader)
        self.label_settings = None if labels is None else labels.settings()
        self.smallest_whole = smallest_scored() if load_size is None else _smallest_enlarged(load_size)

    def check(
        self,
        pairs: list[Pair],
        *,
        setting: str,
        smallest: SmallestSide | None = None,
        reader: PairReader | None = None,
        cache: ImageCache[Pair, DecodedPair] | None = None,
    ) -> Checked:
        """Validate every file, including label maps; see :func:`restore.data.file_checks.check_pairs`.

        Args:
            smallest, reader: replace the attributes.
            cache: is filled with the pairs that ``reader`` reads.
        """
        reader, cache = reader or self.reader, cache or ImageCache()

        def keep(pair: Pair, images: Sequence[Tensor]) -> list[str]:
            if cache.is_full and reader.labels is None:
                return []
            try:
                cache.add(pair, reader.read(pair, images))
            except ValueError as error:  # not a valid label map
                return [str(error)]
            return []

        return check_pairs(pairs, 1, smallest=smallest or self.smallest_whole, inspect=keep, setting=setting)

    def images(self, pairs: list[Pair], *, seed: int = 0) -> TranslationImages:
        """Whole images for scoring."""
        return TranslationImages(pairs, self.reader, seed=seed)


def _check_channels(in_channels: int, reader: PairReader) -> None:
    if in_channels != reader.channels:
        kind = "rgb" if reader.labels is None else "labels, one-hot" if reader.labels.one_hot else "labels"
        raise SettingError(
            "data.in_channels",
            in_channels,
            f"{reader.channels}, the channels of these inputs ({kind})",
            "set model.in_channels to that, or data.one_hot and the classes as in training",
        )


def _smallest_enlarged(load_size: int) -> SmallestSide:
    reason = f"data.load_size enlarges it {MAX_ENLARGEMENT} times at most"
    return SmallestSide(math.ceil(load_size / MAX_ENLARGEMENT), reason)
