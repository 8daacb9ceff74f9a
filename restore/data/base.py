"""Base of the DataModules of paired images: loaders whose order is a function of the seed, and validated files."""

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
    """Training crops and whole validation images. A subclass finds the pairs, and may override how they are read.

    Attributes:
        kind: must equal the ``data_kind`` of the model.
        train_pairs: pairs from which crops are cut.
        validation_sets, test_sets: pairs by set name; the test sets are the validation sets plus the benchmarks.
        smallest_whole: minimum side of a whole image.
        cache: decoded training pairs in memory.
        decoded: source of the pairs that crops are cut from: the cache, or a pack once :meth:`prepare` has run.
        label_settings: how label maps are read, stored in checkpoints; None if the inputs are images.
        packing_seconds: time that :meth:`prepare` spent on the pack.
        checked: facts about the training images and each test set, by name; set by :meth:`prepare`.
        held_out: names of the images or sequences removed from :attr:`train_pairs` for validation.
        warnings: sentences to store with the run's result; set by :meth:`prepare`.

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
        """Names of the sets scored at the end: the validation sets, then the benchmarks."""
        return list(self.test_sets)

    def refuse_same_name(self, name: str, folder: str) -> None:
        """Refuse a benchmark whose name is already taken by another set, because results are stored by name.

        Raises:
            SettingError
        """
        if name in self.test_sets:
            raise SettingError(
                "data.benchmarks",
                folder,
                f"a folder with another name, because there already is a set called {name}",
                "rename one",
            )

    def prepare(self) -> dict[str, str]:
        """Read and decode every file once to validate it, and keep the training images in memory while they fit.

        With a pack, training images come from it or are added to it, and files that have not changed are not read
        again.

        Every process calls it once, before the loaders are made, because each process has its own cache. (Lightning
        calls ``prepare_data`` in one process only, and ``setup`` when the trainer is already running.) Sets ``checked``
        and ``warnings``, and logs the warnings.

        Returns:
            The fingerprint of each set, SHA-256 over names and contents; ``training`` is the training set.

        Raises:
            SettingError: a test set is called ``training``, or the pack cannot be used.
            DataProblem: lists every problem of the files of all sets in one error.
        """
        if "training" in self.test_sets:  # it would replace the training set, here and in the fingerprints
            raise SettingError(
                "data.validation" if "training" in self.validation_sets else "data.benchmarks",
                "a folder called training",
                "another name, because the training set is called training",
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
            log.info("held out of data.root for validation: %s", listed(self.held_out))
        self.checked = checked
        self.warnings = [encodable(each) for each in self.compare_sets(checked)]
        for warning in self.warnings:
            log.warning(warning)
        return {name: each.fingerprint for name, each in checked.items()}

    def check_set(self, pairs: list[Pair], *, is_training: bool) -> Checked:
        """Validate a set's files; decoded training images stay in memory or in the pack."""
        if not is_training:
            return self.check_whole(pairs)
        if self.pack is None:
            return self.check_cached(pairs)
        pack = Pack(Path(self.pack), self.recipe(), names_below(self.roots))
        found = pack.fill(pairs, self.scale, smallest=self.smallest_cut, decode=self.decode)
        self.decoded, self.packing_seconds = found.source, found.seconds
        return of_set(pairs, found.checked, setting="data")

    def check_whole(self, pairs: list[Pair]) -> Checked:
        """Validate images that are scored as a whole."""
        return check_pairs(pairs, self.scale, smallest=self.smallest_whole, setting="data")

    def check_cached(self, pairs: list[Pair]) -> Checked:
        """Validate training pairs, and keep them in memory while they fit."""

        def keep(pair: Pair, images: Sequence[Tensor]) -> list[str]:
            self.cache.add(pair, self.decode(pair, images))
            return []

        return check_pairs(pairs, self.scale, smallest=self.smallest_cut, inspect=keep, setting="data")

    @property
    def smallest_cut(self) -> SmallestSide:
        """Minimum side of a training image."""
        return SmallestSide(self.patch_size, "data.patch_size")

    def decode(self, pair: Pair, images: Sequence[Tensor]) -> DecodedPair:
        """The images that crops are cut from, made from the decoded files, gt first."""
        return decode(pair, images)

    def recipe(self) -> dict[str, Any]:
        """The settings that :meth:`decode` depends on, stored with a pack."""
        return {}

    def compare_sets(self, checked: Mapping[str, Checked]) -> list[str]:
        """Warnings about the sets in combination; a subclass may also refuse them."""
        return []

    def train_dataloader(self) -> DataLoader[Sample]:
        """Batches of the whole run, starting at the step from which the run resumes."""
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
        """Whole images for scoring."""
        return WholeImages(pairs, scale=self.scale, seed=self.seed, degradations=self.degradations)

    def val_dataloader(self) -> list[DataLoader[Sample]]:
        """One loader per validation set; each batch is one whole image."""
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
