"""Blurred and sharp data for deblurring."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from restore.data import blur_sharp_folders
from restore.data.base import PairedData
from restore.data.embedded_photos import EMBEDDED
from restore.data.file_checks import Checked, refuse_shared, smallest_scored
from restore.data.hr_lr_folders import find_pairs
from restore.data.pair import Pair
from restore.io.errors import SettingError

if TYPE_CHECKING:  # see datasets
    from restore.degradations.basic import Degradation


class DeblurData(PairedData):
    """Training crops and whole validation images for deblurring; motion blur and defocus have the same layout.

    Folder layouts: see :mod:`restore.data.blur_sharp_folders`. With ``degradations``, a folder of sharp images is
        enough: the blurred images are made on the fly.

    Args:
        root: folder of the training pairs (its ``train`` folder is used if it exists), or a list of them; with
            degradations also folders of sharp images and embedded sets.
        scale: 1; set by the model.
        patch_size: side of a training crop in pixels.
        batch_size: samples per step, over all processes.
        validation: folder to validate on (its ``val`` or ``test`` folder); or the number of sequences of ``root`` to
            hold out (the last ones, with roots in the given order and sequences ordered by the numbers in their names);
            or ``last_frames``: the last tenth of each sequence, whose scores are optimistic.
        val_limit: validate only on this many images, the first ones; null for all.
        benchmarks: folder or folders (their ``test`` folder is used) scored once, after training.
        degradations: make lq where none exists, in training and validation.
        num_workers: loader processes; affects only the speed.
        cache_gb: decoded training images are kept in memory, up to this many GiB.
        pack: folder in which decoded training images are kept instead (:mod:`restore.data.pack`), made on first use.
        seed: for order, crops, flips and degradations.

    Raises:
        SettingError: a setting is out of bounds, a folder does not exist, or there are no pairs.
    """

    smallest_whole = smallest_scored()

    def __init__(
        self,
        *,
        root: str | list[str],
        scale: int = 1,
        patch_size: int = 128,
        batch_size: int = 8,
        validation: str | int = 1,
        val_limit: int | None = None,
        benchmarks: str | Sequence[str] = (),
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
        if scale != 1:
            raise SettingError(
                "data.scale", scale, "1, because blurred and sharp images have one size", "choose model=deblur"
            )
        if patch_size < 2:
            raise SettingError("data.patch_size", patch_size, "at least 2 pixels")
        roots = self.roots
        if not roots:
            raise SettingError("data.root", "empty", "a folder or a list of folders")
        pairs = [pair for each in roots for pair in self._find(each, ("train",), "data.root")[1]]
        self.train_pairs, name, held_out = self._split(pairs, validation, _stem(roots[0]))
        self.validation_sets = {name: held_out[:val_limit]}
        self.test_sets = dict(self.validation_sets)
        for folder in [benchmarks] if isinstance(benchmarks, str) else benchmarks:
            name, found = self._find(folder, ("test",), "data.benchmarks")
            if found[:1] == self.test_sets.get(name, [])[:1]:
                raise SettingError(
                    "data.benchmarks",
                    folder,
                    f"a folder that is not scored already; this one is, as {name}",
                    "leave it out",
                )
            self.refuse_same_name(name, folder)
            self.test_sets[name] = found

    def _find(self, root: str, splits: Sequence[str], setting: str) -> tuple[str, list[Pair]]:
        """A set's name and its pairs."""
        if self.degradations and root in EMBEDDED:
            return root, find_pairs(root, 1, setting=setting)
        folder = blur_sharp_folders.split_folder(root, splits)
        if self.degradations and not blur_sharp_folders.is_paired(folder):
            return blur_sharp_folders.set_name(str(folder)), find_pairs(str(folder), 1, setting=setting)
        return blur_sharp_folders.set_name(str(folder)), blur_sharp_folders.find_sequences(folder, setting=setting)

    def _split(self, pairs: list[Pair], validation: str | int, stem: str) -> tuple[list[Pair], str, list[Pair]]:
        if validation == "last_frames":
            train, held_out = blur_sharp_folders.hold_out_frames(pairs)
            self.held_out = [pair.name for pair in held_out]
            return train, f"{stem}_last_frames", held_out
        if isinstance(validation, str):
            if validation not in EMBEDDED and not Path(validation).is_dir():
                raise SettingError(
                    "data.validation", validation, "a folder, the number of sequences to hold out, or last_frames"
                )
            return pairs, *self._find(validation, ("val", "test"), "data.validation")
        train, held_out = blur_sharp_folders.hold_out_sequences(pairs, validation)
        self.held_out = list(dict.fromkeys(pair.sequence or pair.name for pair in held_out))
        return train, f"{stem}_held_out", held_out

    def compare_sets(self, checked: Mapping[str, Checked]) -> list[str]:
        """Warn about sequences in several sets and lq files sharper than gt; refuse a file that is in two sets."""
        refuse_shared({name: each.contents for name, each in checked.items()}, "has the content of")
        sets = {"training": self.train_pairs} | self.test_sets
        return blur_sharp_folders.shared_sequences(sets) + [
            blur_sharp_folders.not_blurred(name, each.sharper, len(sets[name]))
            for name, each in checked.items()
            if each.sharper
        ]


def _stem(root: str) -> str:
    return root if root in EMBEDDED else blur_sharp_folders.set_name(str(Path(root))).removesuffix("_train")
