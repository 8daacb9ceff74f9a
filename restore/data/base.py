"""What the DataModules of paired pictures share: loaders whose order is a function of the seed, and the check."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from restore.data.checks import Checked, check_pairs
from restore.data.datasets import Sample, TrainingCrops, WholeImages
from restore.data.pairs import DataProblem, Pair, Pictures
from restore.data.sampling import RunSampler, ShareSampler, one_thread
from restore.io.names import encodable

if TYPE_CHECKING:  # see paired_images
    from restore.degradations.basic import Degradation

log = logging.getLogger(__name__)


class PairedData(LightningDataModule):
    """Training crops and whole validation images. A subclass finds the pairs, and may read them in its own way.

    Attributes:
        train_pairs: to cut crops from.
        validation_sets, test_sets: pairs by set name; the test sets are the validation sets and the benchmarks.
        smallest_whole: the least side of a whole image, and what asks for it.
        label_settings: how label maps are read, for the checkpoint; None where the inputs are pictures.
        checked: what ``prepare`` found of the training pictures and of each test set.
        warnings: sentences that ``prepare`` found worth keeping with the run's result.

    Args: see :class:`restore.data.super_resolution.SuperResolutionData`.
    """

    train_pairs: list[Pair]
    validation_sets: dict[str, list[Pair]]
    test_sets: dict[str, list[Pair]]
    smallest_whole: tuple[int, str]
    label_settings: dict[str, Any] | None = None

    def __init__(
        self,
        *,
        scale: int,
        patch_size: int,
        batch_size: int,
        degradations: "Sequence[Degradation]",
        val_limit: int | None,
        num_workers: int,
        cache_gb: float,
        seed: int,
    ) -> None:
        super().__init__()
        if batch_size < 1:  # refused here as well as by the sampler, which is made when the run is already described
            raise ValueError(f"data.batch_size is {batch_size}, expected a positive number of samples")
        if val_limit is not None and val_limit < 1:
            raise ValueError(f"data.val_limit is {val_limit}, expected at least 1 picture, or null for all")
        if num_workers < 0 or cache_gb < 0:
            raise ValueError(
                f"data.num_workers is {num_workers} and data.cache_gb is {cache_gb}, expected at least 0 of each"
            )
        if not isinstance(degradations, Sequence) or not all(callable(each) for each in degradations):
            raise ValueError(f"data.degradations is {degradations}, expected a list of _target_s, or []")
        self.scale, self.patch_size, self.batch_size, self.degradations = scale, patch_size, batch_size, degradations
        self.num_workers, self.seed = num_workers, seed
        self.pictures = Pictures(cache_gb)
        self.checked: dict[str, Checked] = {}
        self.warnings: list[str] = []

    @property
    def validation_names(self) -> list[str]:
        """Names of the validation sets, in the order of their loaders."""
        return list(self.validation_sets)

    @property
    def test_names(self) -> list[str]:
        """Names of the sets scored at the end: validation first, then the benchmarks."""
        return list(self.test_sets)

    @property
    def cache(self) -> tuple[int, int]:
        """Bytes of pictures kept in memory, and bytes that are left for more."""
        return self.pictures.kept_bytes, self.pictures.room

    def prepare(self) -> dict[str, str]:
        """Validate before training: decode every file once, cache training images up to ``cache_gb``, log warnings.

        Every process calls it, because each has a cache of its own. (Lightning's ``prepare_data`` and ``setup`` are
        something else: the one runs in one process only, both run when the trainer is already at work.)

        Returns:
            Each set's fingerprint.

        Raises:
            DataProblem: with all bad files.
        """
        if "training" in self.test_sets:  # it would stand in for what is trained on, here and in the fingerprints
            raise ValueError(
                "data.validation or data.benchmarks names a folder called training, which is what the pictures trained "
                "on are called; rename the folder"
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
        self.checked = checked
        self.warnings = [encodable(each) for each in self.compare_sets(checked)]
        for warning in self.warnings:
            log.warning(warning)
        return {name: each.fingerprint for name, each in checked.items()}

    def check_set(self, pairs: list[Pair], *, is_training: bool) -> Checked:
        """Decode a set's files; those of training stay in memory."""
        side, reason = (self.patch_size, "data.patch_size") if is_training else self.smallest_whole
        pictures = self.pictures if is_training else None
        return check_pairs(pairs, self.scale, smallest_gt=side, reason=reason, pictures=pictures, setting="data")

    def compare_sets(self, checked: Mapping[str, Checked]) -> list[str]:
        """What is to be said of the sets together; a subclass may also refuse them."""
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
            pictures=self.pictures,
        )

    def images(self, pairs: list[Pair]) -> Dataset[Sample]:
        """Whole pictures to be scored."""
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
