"""What the DataModules of paired images share: loaders whose order is a function of the seed, and validated files."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from restore.data.cache import ImageCache, PairSource
from restore.data.datasets import Sample, TrainingCrops, WholeImages, decode
from restore.data.file_checks import Checked, SmallestSide, check_pairs, of_set
from restore.data.pack import Pack
from restore.data.pack_records import names_below
from restore.data.pair import DataProblem, DecodedPair, Pair
from restore.data.sampling import RunSampler, ShareSampler, one_thread
from restore.data.setting_bounds import check_bounds
from restore.io.errors import SettingError
from restore.io.files import encodable, listed

if TYPE_CHECKING:  # see datasets
    from restore.degradations.basic import Degradation

log = logging.getLogger(__name__)


class PairedData(LightningDataModule):
    """Training crops and whole validation images. A subclass finds the pairs, and may read them in its own way.

    Attributes:
        kind: must be the ``data_kind`` of the model.
        train_pairs: crops are cut from these.
        validation_sets, test_sets: pairs by set name; the test sets are the validation sets and the benchmarks.
        smallest_whole: the shortest side of a whole image.
        cache: training pairs in memory.
        decoded: what training crops are cut from: the cache, or after :meth:`prepare` a pack.
        label_settings: how label maps are read, for the checkpoint; None where the inputs are images.
        packing_seconds: what :meth:`prepare` has spent on the pack.
        checked: of the training images and of each test set, by name; set by :meth:`prepare`.
        held_out: names of the images or sequences that :attr:`train_pairs` lacks because they are validated on.
        warnings: sentences to keep with the run's result; set by :meth:`prepare`.

    Args: see :class:`restore.data.super_resolution.SuperResolutionData`.
    """

    kind: ClassVar[str] = "image_pairs"
    train_pairs: list[Pair]
    validation_sets: dict[str, list[Pair]]
    test_sets: dict[str, list[Pair]]
    smallest_whole: SmallestSide
    label_settings: dict[str, Any] | None = None

    def __init__(
        self,
        *,
        root: str | list[str],
        scale: int,
        patch_size: int,
        batch_size: int,
        degradations: "Sequence[Degradation]",
        val_limit: int | None,
        num_workers: int,
        cache_gb: float,
        pack: str | None,
        seed: int,
    ) -> None:
        super().__init__()
        check_bounds(batch_size=batch_size, val_limit=val_limit, num_workers=num_workers, cache_gb=cache_gb)
        if not isinstance(degradations, Sequence) or not all(callable(each) for each in degradations):
            raise SettingError("data.degradations", degradations, "a list of _target_s, or []")
        self.scale, self.patch_size, self.batch_size, self.degradations = scale, patch_size, batch_size, degradations
        self.num_workers, self.seed = num_workers, seed
        self.roots, self.pack = [root] if isinstance(root, str) else root, pack
        self.cache: ImageCache[Pair, DecodedPair] = ImageCache(0.0 if pack else cache_gb)
        self.decoded: PairSource = self.cache
        self.packing_seconds = 0.0
        self.checked: dict[str, Checked] = {}
        self.held_out: list[str] = []
        self.warnings: list[str] = []

    @property
    def validation_names(self) -> list[str]:
        """Names of the validation sets, in the order of their loaders."""
        return list(self.validation_sets)

    @property
    def test_names(self) -> list[str]:
        """Names of the sets scored at the end: validation first, then the benchmarks."""
        return list(self.test_sets)

    def refuse_same_name(self, name: str, folder: str) -> None:
        """Refuse a benchmark with the name of a set before it, because results are stored by name.

        Raises:
            SettingError
        """
        if name in self.test_sets:
            raise SettingError(
                "data.benchmarks", folder, f"a folder with another name, because {name} is a set already", "rename one"
            )

    def prepare(self) -> dict[str, str]:
        """Read and decode every file once: validate it, and keep the training images in memory while they fit.

        With a pack the training images are in it, or added to it, and files that have not changed are not read again.

        Every process calls it once, before the loaders are made, because each has a cache of its own. (Lightning's
        ``prepare_data`` runs in one process only, and its ``setup`` when the trainer is already at work.) Sets
        ``checked`` and ``warnings``, and logs the warnings.

        Returns:
            Each set's fingerprint, SHA-256 over names and contents; ``training`` is the set that is trained on.

        Raises:
            SettingError: a set of another use is called ``training``, or the pack cannot be used.
            DataProblem: everything that is wrong with the files of all sets, in one error.
        """
        if "training" in self.test_sets:  # it would replace the set that is trained on, here and in the fingerprints
            raise SettingError(
                "data.validation" if "training" in self.validation_sets else "data.benchmarks",
                "a folder called training",
                "another name, because training is the set that is trained on",
                "rename the folder",
            )
        checked: dict[str, Checked] = {}
        problems = []
        for name, pairs in {"training": self.train_pairs, **self.test_sets}.items():
            try:
                checked[name] = self.check_set(pairs, is_training=name == "training")
            except DataProblem as error:
                problems += error.problems
        if problems:
            raise DataProblem("data", problems)
        if self.held_out:
            log.info("held out of data.root, to validate on: %s", listed(self.held_out))
        self.checked = checked
        self.warnings = [encodable(each) for each in self.compare_sets(checked)]
        for warning in self.warnings:
            log.warning(warning)
        return {name: each.fingerprint for name, each in checked.items()}

    def check_set(self, pairs: list[Pair], *, is_training: bool) -> Checked:
        """Validate a set's files; the decoded images of training stay in memory, or in the pack."""
        if not is_training:
            return self.check_whole(pairs)
        if self.pack is None:
            return self.check_cached(pairs)
        pack = Pack(Path(self.pack), self.recipe(), names_below(self.roots))
        found = pack.fill(pairs, self.scale, smallest=self.smallest_cut, decode=self.decode)
        self.decoded, self.packing_seconds = found.source, found.seconds
        return of_set(pairs, found.checked, setting="data")

    def check_whole(self, pairs: list[Pair]) -> Checked:
        """Validate images that are scored whole."""
        return check_pairs(pairs, self.scale, smallest=self.smallest_whole, setting="data")

    def check_cached(self, pairs: list[Pair]) -> Checked:
        """Validate training pairs, which stay in memory while they fit."""

        def keep(pair: Pair, images: Sequence[Tensor]) -> list[str]:
            self.cache.add(pair, self.decode(pair, images))
            return []

        return check_pairs(pairs, self.scale, smallest=self.smallest_cut, inspect=keep, setting="data")

    @property
    def smallest_cut(self) -> SmallestSide:
        """The shortest side of a training image."""
        return SmallestSide(self.patch_size, "data.patch_size")

    def decode(self, pair: Pair, images: Sequence[Tensor]) -> DecodedPair:
        """What crops are cut from, made of the decoded files, gt first."""
        return decode(pair, images)

    def recipe(self) -> dict[str, Any]:
        """Settings that :meth:`decode` depends on, for a pack."""
        return {}

    def compare_sets(self, checked: Mapping[str, Checked]) -> list[str]:
        """Warnings about the sets together; a subclass may also refuse them."""
        return []

    def train_dataloader(self) -> DataLoader[Sample]:
        """Batches of the whole run, starting where a resumed run stopped."""
        trainer: Any = self.trainer
        batches = trainer.max_steps * trainer.accumulate_grad_batches
        crops = self.crops(batches * self.batch_size)
        sampler = RunSampler(
            batches,
            self.batch_size,
            start=trainer.fit_loop.epoch_loop.batch_progress.current.ready,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
        return self._loader(crops, batch_sampler=sampler)

    def crops(self, count: int) -> Dataset[Sample]:
        """The ``count`` numbered training samples of a run."""
        return TrainingCrops(
            self.train_pairs,
            scale=self.scale,
            patch_size=self.patch_size,
            count=count,
            seed=self.seed,
            degradations=self.degradations,
            source=self.decoded,
        )

    def images(self, pairs: list[Pair]) -> Dataset[Sample]:
        """Whole images to be scored."""
        return WholeImages(pairs, scale=self.scale, seed=self.seed, degradations=self.degradations)

    def val_dataloader(self) -> list[DataLoader[Sample]]:
        """One loader per validation set, whole images one by one."""
        return [self._whole(pairs) for pairs in self.validation_sets.values()]

    def test_dataloader(self) -> list[DataLoader[Sample]]:
        """One loader per test set."""
        return [self._whole(pairs) for pairs in self.test_sets.values()]

    def _whole(self, pairs: list[Pair]) -> DataLoader[Sample]:
        trainer: Any = self.trainer
        share = ShareSampler(len(pairs), rank=trainer.global_rank, world=trainer.world_size)
        return self._loader(self.images(pairs), sampler=share)

    def _loader(self, dataset: Dataset[Sample], **order: Any) -> DataLoader[Sample]:
        trainer: Any = self.trainer
        on_gpu = trainer.strategy.root_device.type == "cuda"
        return DataLoader(dataset, num_workers=self.num_workers, pin_memory=on_gpu, worker_init_fn=one_thread, **order)
