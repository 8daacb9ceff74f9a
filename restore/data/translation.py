"""Data for image-to-image translation: contours, label maps or photos as inputs, photos as targets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils.data import Dataset

from restore.data.ab_folders import Direction
from restore.data.base import PairedData
from restore.data.datasets import Sample
from restore.data.file_checks import Checked, SmallestSide, refuse_shared
from restore.data.pair import DecodedPair, Pair
from restore.data.side_by_side import single_images
from restore.data.translation_dataset import TranslationCrops, TranslationSource
from restore.io.errors import SettingError
from restore.io.wording import counted
from restore.networks.contract import InputKind

if TYPE_CHECKING:  # see datasets
    from restore.degradations.basic import Degradation

FEW_PAIRS = 100  # the smallest set of the pix2pix paper (Isola et al., CVPR 2017) has 400


class TranslationData(PairedData):
    """Training crops and whole validation images of pairs of images.

    Folder layouts: see :mod:`restore.data.ab_folders`. With ``degradations``, a folder of photos is enough: the inputs,
    for example contours, are computed from them.

    Args:
        root: folder of the training pairs (its ``train`` folder is used if it exists), or a list of them; with
            degradations also folders of photos and embedded sets.
        scale: 1; set by the model.
        in_channels: channels of lq, as the model expects; 3, or with ``one_hot`` the number of classes.
        input_kind: ``rgb``, or ``labels`` for class indices and class colours (:class:`restore.data.labels.Labels`).
        palette, classes, one_hot, snap_distance, snap_share: how label maps are read, see the same class.
        direction, folder_a, folder_b: which image is the input (:class:`restore.data.ab_folders.Layout`).
        load_size: images are resized so that the shorter side has this many pixels before a crop is cut, and
            ``patch_size`` pixels for validation (pix2pix: 286 and 256); null keeps the size of the files.
        patch_size: side of a training crop in pixels.
        flip: mirror half of the crops left to right.
        batch_size: samples per step, over all processes.
        validation: folder to validate on (its ``val`` or ``test`` folder); or the number of pairs of ``root`` to hold
            out (the last by name); or null for the ``val`` folder of ``root``, or else its ``test`` folder.
        val_limit: validate only on this many pairs, the first ones; null for all.
        benchmarks: folders (their ``test`` folder is used) scored once, after training.
        degradations: make lq from single photos, in training and validation.
        num_workers: loader processes; affects only the speed.
        cache_gb: training pairs are kept in memory, at ``load_size``, up to this many GiB.
        pack: folder in which they are kept instead (:mod:`restore.data.pack`), made on first use.
        seed: for order, crops, flips and degradations.

    Raises:
        SettingError: settings contradict each other, a folder does not exist, or there are no pairs.
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
        pack: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            root=root,
            scale=scale,
            patch_size=patch_size,
            batch_size=batch_size,
            degradations=degradations,
            val_limit=val_limit,
            num_workers=num_workers,
            cache_gb=cache_gb,
            pack=pack,
            seed=seed,
        )
        _check_sizes(scale, patch_size, load_size)
        self.flip, self.load_size = flip, load_size
        self.source = TranslationSource(
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
        self.label_settings, self.smallest_whole = self.source.label_settings, self.source.smallest_whole
        self.crop_reader = replace(self.source.reader, side=load_size)
        self._find_sets(self.roots, validation, val_limit, benchmarks)

    def _find_sets(
        self, roots: list[str], validation: str | int | None, val_limit: int | None, benchmarks: Sequence[str]
    ) -> None:
        """Find the pairs for training, validation and benchmarks."""
        if not roots:
            raise SettingError("data.root", "empty", "a folder or a list of folders")
        found = [self.source.layout.find(each, ("train",), setting="data.root") for each in roots]
        pairs = [pair for _, each in found for pair in each]
        self.train_pairs, name, held_out = self._split(pairs, roots, validation, found[0][0].removesuffix("_train"))
        self.validation_sets = {name: held_out[:val_limit]}
        self.test_sets = dict(self.validation_sets)
        for folder in benchmarks:
            name, of_folder = self.source.layout.find(folder, ("test",), setting="data.benchmarks")
            self.refuse_same_name(name, folder)
            self.test_sets[name] = of_folder

    def _split(
        self, pairs: list[Pair], roots: Sequence[str], validation: str | int | None, stem: str
    ) -> tuple[list[Pair], str, list[Pair]]:
        layout = self.source.layout
        if validation is None:
            if not layout.has_split(roots[0], ("val", "test")):
                raise SettingError(
                    "data.validation",
                    None,
                    f"a folder or the number of pairs to hold out, because data.root={roots[0]} has no val or test "
                    "part",
                )
            validation = roots[0]
        if isinstance(validation, str):
            return pairs, *layout.find(validation, ("val", "test"), setting="data.validation")
        if not 1 <= validation < len(pairs):
            others = f", or 1 to {len(pairs) - 1} of its {len(pairs)} pairs to hold out" if len(pairs) > 1 else ""
            raise SettingError(
                "data.validation", validation, f"a folder, or null for the val or test part of data.root{others}"
            )
        self.held_out = [pair.name for pair in pairs[-validation:]]
        return pairs[:-validation], f"{stem}_held_out", pairs[-validation:]

    def check_whole(self, pairs: list[Pair]) -> Checked:
        """Validate pairs that are scored as a whole, including label maps."""
        return self.source.check(pairs, setting="data")

    def check_cached(self, pairs: list[Pair]) -> Checked:
        """Validate training pairs, including label maps, and keep them in memory while they fit."""
        reader, cache = self.crop_reader, self.cache
        return self.source.check(pairs, setting="data", smallest=self.smallest_cut, reader=reader, cache=cache)

    @property
    def smallest_cut(self) -> SmallestSide:
        """Minimum side of a training image, as stored in its file."""
        return super().smallest_cut if self.load_size is None else self.smallest_whole

    def decode(self, pair: Pair, images: Sequence[Tensor]) -> DecodedPair:
        """The images that crops are cut from: both at ``load_size``, label maps as classes."""
        return self.crop_reader.read(pair, images)

    def recipe(self) -> dict[str, Any]:
        """The settings that :meth:`decode` depends on, stored with a pack."""
        return self.crop_reader.recipe()

    def compare_sets(self, checked: Mapping[str, Checked]) -> list[str]:
        """Refuse a pair that is in two sets; warn about few training pairs, and about photos read as two images."""
        # a single shared file is allowed: two photos can have the same, empty, contours
        references = {
            name: {sample: pair.gt for sample, pair in each.samples.items()} for name, each in checked.items()
        }
        refuse_shared(references, "is the pair of")
        warnings, count = [], len(self.train_pairs)
        if count < FEW_PAIRS:
            warnings.append(
                f"training has {counted(count, 'pair')}, fewer than {FEW_PAIRS}: discriminator and network overfit; "
                "more pairs, or augmentation of the discriminator's input, help"
            )
        single = single_images(self.train_pairs)
        if single is not None:
            warnings.append(f"{single}, or data=contours, which makes the inputs of photos")
        return warnings

    def crops(self, count: int) -> Dataset[Sample]:
        """The ``count`` numbered training samples of a run."""
        return TranslationCrops(
            self.train_pairs,
            self.crop_reader,
            self.decoded,
            patch_size=self.patch_size,
            flip=self.flip,
            count=count,
            seed=self.seed,
        )

    def images(self, pairs: list[Pair]) -> Dataset[Sample]:
        """Whole images for scoring."""
        return self.source.images(pairs, seed=self.seed)


def _check_sizes(scale: int, patch_size: int, load_size: int | None) -> None:
    if scale != 1:
        raise SettingError(
            "data.scale", scale, "1, because both images of a pair have one size", "choose model=translation"
        )
    if patch_size < 11:
        raise SettingError("data.patch_size", patch_size, "at least 11 pixels, SSIM's window")
    if load_size is not None and load_size < patch_size:
        raise SettingError(
            "data.load_size", load_size, f"at least data.patch_size={patch_size}, which is cut from it, or null"
        )
