"""LR/HR data for super-resolution."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from restore.data.base import PairedData
from restore.data.file_checks import smallest_scored
from restore.data.hr_lr_folders import find_pairs, set_name
from restore.data.pair import Pair
from restore.data.setting_bounds import check_patch
from restore.io.errors import SettingError

if TYPE_CHECKING:  # see datasets
    from restore.degradations.basic import Degradation


class SuperResolutionData(PairedData):
    """Training crops and whole validation images of LR/HR data.

    Folder layouts: see :mod:`restore.data.hr_lr_folders`. Without prepared lq images, lq is the crop downscaled
    bicubically as in MATLAB, so that it agrees with published lq files.

    Args:
        root: folder of the training images, or an embedded set's name, or a list of them.
        scale: output side / input side; set by the model.
        patch_size: side of a training crop in gt pixels, a multiple of ``scale``.
        batch_size: samples per step, over all processes.
        validation: folder or embedded set to validate on; or the number of training images to hold out (the last by
            name); or null for the ``*_valid_HR`` folder under ``root``.
        val_limit: validate only on this many images, the first ones; null for all.
        benchmarks: folders scored once, after training.
        degradations: applied to lq after bicubic downscaling, in training and validation.
        num_workers: loader processes; affects only the speed.
        cache_gb: decoded training images are kept in memory, up to this many GiB.
        pack: folder in which decoded training images are kept instead (:mod:`restore.data.pack`), made on first use.
        seed: for order, crops, flips and degradations.

    Raises:
        SettingError: a setting is out of bounds, a folder does not exist, or there are no images.
    """

    def __init__(
        self,
        *,
        root: str | list[str],
        scale: int,
        patch_size: int = 96,
        batch_size: int = 16,
        validation: str | int | None = 1,
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
        if scale < 2 and not degradations:
            raise SettingError(
                "data.scale",
                scale,
                "at least 2, because nothing else degrades the images",
                "to deblur, choose data=synthetic_blur, data=gopro or data=deblur_folder",
            )
        check_patch(patch_size=patch_size, scale=scale)
        self.smallest_whole = smallest_scored(crop_border=scale)
        roots = self.roots
        if not roots:
            raise SettingError("data.root", "empty", "a folder or a list of folders")
        if validation is None:
            validation = str(next(Path(roots[0]).glob("*_valid_HR"), Path(roots[0]) / "*_valid_HR"))
        self.train_pairs, held_out = self._split(roots, validation)
        name = set_name(validation) if isinstance(validation, str) else f"{set_name(roots[0])}_held_out"
        self.validation_sets = {name: held_out[:val_limit]}
        self.test_sets = dict(self.validation_sets)
        for folder in benchmarks:
            self.refuse_same_name(set_name(folder), folder)
            self.test_sets[set_name(folder)] = find_pairs(folder, scale, setting="data.benchmarks")

    def _split(self, roots: list[str], validation: str | int) -> tuple[list[Pair], list[Pair]]:
        pairs = [pair for root in roots for pair in find_pairs(root, self.scale)]
        if isinstance(validation, str):
            return pairs, find_pairs(validation, self.scale, setting="data.validation")
        if len(pairs) < 2:
            raise SettingError(
                "data.root",
                f"{','.join(roots)}, which holds one image",
                "at least two images, one of them to hold out",
                "set data.validation to a folder or to photos_held_out",
            )
        if not 1 <= validation < len(pairs):
            raise SettingError(
                "data.validation",
                validation,
                f"a folder, or 1 to {len(pairs) - 1} of the {len(pairs)} images in data.root={','.join(roots)} to hold "
                "out",
            )
        self.held_out = [pair.name for pair in pairs[-validation:]]
        return pairs[:-validation], pairs[-validation:]
