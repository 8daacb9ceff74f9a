"""Pairs for image-to-image translation: contours, label maps or photos in, photos out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from torch.utils.data import Dataset

from restore.data.ab_folders import Direction
from restore.data.base import PairedData
from restore.data.checks import Checked, refuse_shared
from restore.data.datasets import Sample
from restore.data.pairs import Pair
from restore.data.translation_dataset import Kept, TranslationCrops
from restore.data.translation_source import InputKind, Source
from restore.image import reading

if TYPE_CHECKING:  # see paired_images
    from restore.degradations.basic import Degradation

FEW_PAIRS = 100  # the smallest set of the pix2pix paper (Isola et al., CVPR 2017) has 400
LOOKED_AT = 10  # files side by side


class TranslationData(PairedData):
    """Training crops and whole validation images of pairs of pictures.

    Folder layouts: see :mod:`restore.data.ab_folders`. With ``degradations`` a folder of photos will do, and
    their partners, contours for example, are made of them.

    Args:
        root: folder of the training pairs (its ``train`` part is taken where it has one), or a list of such; with
            degradations also folders of photos and embedded sets.
        scale: 1; comes from the model.
        in_channels: of lq, as the model takes it; 3, or with ``one_hot`` the number of classes.
        input_kind: ``rgb``, or ``labels`` for class indices and class colours (:class:`restore.data.labels.Labels`).
        palette, classes, one_hot, snap_distance, snap_share: of label maps.
        direction, folder_a, folder_b: which picture is the input (:class:`restore.data.ab_folders.Layout`).
        load_size: the shorter side of a picture is brought to so many pixels before a crop is cut from it, and to
            ``patch_size`` for validation (pix2pix: 286 and 256); null leaves all sizes as they are.
        patch_size: side of a training crop.
        flip: mirror half of the crops left to right.
        batch_size: samples of one step over all processes.
        validation: folder to validate on (its ``val`` or ``test`` part); or the number of pairs of ``root`` to hold
            out (the last by name); or null for the ``val``, else ``test`` part of ``root`` itself.
        val_limit: validate on the first so many pairs of it only; null for all.
        benchmarks: folders (their ``test`` part) scored once, after training.
        degradations: make lq of photos that stand alone, in training and validation.
        num_workers: loader processes; changes nothing but speed.
        cache_gb: training pairs are kept in memory, at ``load_size``, up to this many GiB.
        seed: of order, crops, flips and degradations.

    Raises:
        ValueError, FileNotFoundError: settings that do not fit, and everything wrong with the files, at once.
    """

    def __init__(
        self,
        *,
        root: str | list[str],
        scale: int = 1,
        in_channels: int = 3,
        input_kind: InputKind = "rgb",
        palette: list[list[int]] | None = None,
        classes: int | None = None,
        one_hot: bool = False,
        snap_distance: float = 48.0,
        snap_share: float = 0.0,
        direction: Direction = "a_to_b",
        folder_a: str = "A",
        folder_b: str = "B",
        load_size: int | None = None,
        patch_size: int = 256,
        flip: bool = True,
        batch_size: int = 1,
        validation: str | int | None = None,
        val_limit: int | None = None,
        benchmarks: Sequence[str] = (),
        degradations: "Sequence[Degradation]" = (),
        num_workers: int = 0,
        cache_gb: float = 4.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            scale=scale,
            patch_size=patch_size,
            batch_size=batch_size,
            degradations=degradations,
            val_limit=val_limit,
            num_workers=num_workers,
            cache_gb=cache_gb,
            seed=seed,
        )
        _check_sizes(scale, patch_size, load_size)
        self.flip, self.load_size = flip, load_size
        self.source = Source(
            in_channels=in_channels,
            input_kind=input_kind,
            palette=palette,
            classes=classes,
            one_hot=one_hot,
            snap_distance=snap_distance,
            snap_share=snap_share,
            direction=direction,
            folder_a=folder_a,
            folder_b=folder_b,
            load_size=load_size,
            patch_size=patch_size,
            degradations=degradations,
        )
        labels = self.source.reading.labels
        self.label_settings = None if labels is None else labels.settings()
        self.kept = Kept(self.source.reading, load_size, cache_gb)
        self.smallest_whole = self.source.smallest_whole
        self._find_sets([root] if isinstance(root, str) else root, validation, val_limit, benchmarks)

    def _find_sets(
        self, roots: list[str], validation: str | int | None, val_limit: int | None, benchmarks: Sequence[str]
    ) -> None:
        """The pairs of training, of validation and of the benchmarks."""
        if not roots:
            raise ValueError("data.root is empty, expected a folder or a list of folders")
        found = [self.source.layout.find(each, ("train",), setting="data.root") for each in roots]
        pairs = [pair for _, each in found for pair in each]
        self.train_pairs, name, held_out = self._split(pairs, roots, validation, found[0][0].removesuffix("_train"))
        self.validation_sets = {name: held_out[:val_limit]}
        self.test_sets = dict(self.validation_sets)
        for folder in benchmarks:
            name, of_folder = self.source.layout.find(folder, ("test",), setting="data.benchmarks")
            if name in self.test_sets:
                raise ValueError(f"data.benchmarks: {folder} has another set's name; rename one, results go by name")
            self.test_sets[name] = of_folder

    def _split(
        self, pairs: list[Pair], roots: Sequence[str], validation: str | int | None, stem: str
    ) -> tuple[list[Pair], str, list[Pair]]:
        layout = self.source.layout
        if validation is None:
            if not layout.has_split(roots[0], ("val", "test")):
                raise ValueError(
                    f"data.validation is null, but data.root={roots[0]} has no val or test part; set it to a "
                    "folder, or to the number of pairs to hold out"
                )
            validation = roots[0]
        if isinstance(validation, str):
            return pairs, *layout.find(validation, ("val", "test"), setting="data.validation")
        if not 1 <= validation < len(pairs):
            raise ValueError(
                f"data.validation is {validation}, expected a folder, null for the val or test part of data.root, or 1 "
                f"to {len(pairs) - 1} of its {len(pairs)} pairs to hold out"
            )
        return pairs[:-validation], f"{stem}_held_out", pairs[-validation:]

    def check_set(self, pairs: list[Pair], *, is_training: bool) -> Checked:
        """Decode a set's files, read its label maps; the pairs of training stay in memory."""
        if not is_training:
            return self.source.check(pairs, setting="data")
        side, reason = self.smallest_whole if self.load_size else (self.patch_size, "data.patch_size")
        return self.source.check(pairs, setting="data", smallest=(side, reason), kept=self.kept)

    @property
    def cache(self) -> tuple[int, int]:
        """See the base class."""
        return self.kept.kept_bytes, self.kept.room

    def compare_sets(self, checked: Mapping[str, Checked]) -> list[str]:
        """Refuse a pair that is in two sets; warn of a small training set, and of photos taken for two pictures."""
        # one file alone may well be in two sets: two photos can have the same, empty, contours
        held = {name: {sample: pair.gt for sample, pair in each.samples.items()} for name, each in checked.items()}
        refuse_shared(held, "is the pair of")
        warnings, count = [], len(self.train_pairs)
        if count < FEW_PAIRS:
            warnings.append(
                f"training has {count} pairs, fewer than {FEW_PAIRS}: a discriminator learns so few by heart, and the "
                "network repeats them; more pairs, or augmentation of what the discriminator sees, help"
            )
        halves = [pair.gt for pair in self.train_pairs if pair.lq_half is not None][:LOOKED_AT]
        single = [file for file in halves if is_one_picture(reading.read_rgb8(file))]
        if len(single) > len(halves) / 2:
            warnings.append(
                f"{single[0]} and others are taken for two pictures side by side, but their halves run into one "
                "another; photos alone need something that makes their partners, see data=contours"
            )
        return warnings

    def crops(self, count: int) -> Dataset[Sample]:
        """The ``count`` numbered training samples of a run."""
        return TranslationCrops(
            self.train_pairs, self.kept, patch_size=self.patch_size, flip=self.flip, count=count, seed=self.seed
        )

    def images(self, pairs: list[Pair]) -> Dataset[Sample]:
        """Whole pictures to be scored."""
        return self.source.images(pairs, seed=self.seed)


def is_one_picture(pixels: Tensor) -> bool:
    """Whether the two halves of uint8 (3, H, W) meet as neighbouring columns elsewhere do."""
    steps = pixels.float().diff(dim=2).abs().mean((0, 1))
    return bool(steps[pixels.shape[2] // 2 - 1] < 2 * steps.mean())


def _check_sizes(scale: int, patch_size: int, load_size: int | None) -> None:
    if scale != 1:
        raise ValueError(f"data.scale is {scale}, but both pictures of a pair have one size; choose model=translation")
    if patch_size < 11:
        raise ValueError(f"data.patch_size is {patch_size}, expected at least 11 pixels, SSIM's window")
    if load_size is not None and load_size < patch_size:
        raise ValueError(
            f"data.load_size is {load_size}, expected at least data.patch_size={patch_size}, which is cut from it, or "
            "null"
        )
