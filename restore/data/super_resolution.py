"""LR/HR data for super-resolution."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from restore.data.paired_images import Sample, TrainingCrops, WholeImages
from restore.data.pairs import DataProblem, Pair, Pictures, check_pairs, find_pairs, set_name
from restore.data.sampling import RunSampler, ShareSampler, one_thread

if TYPE_CHECKING:  # see paired_images
    from restore.degradations import Degradation


class SuperResolutionData(LightningDataModule):
    """Training crops and whole validation images of LR/HR data.

    Folder layouts: see :mod:`restore.data.pairs`. Without prepared small pictures lq is the bicubic shrink of the
    crop, computed as MATLAB does, so that it agrees with the published files.

    Args:
        root: folder of the training pictures, or an embedded set's name, or a list of such.
        scale: output side / input side; comes from the model.
        patch_size: side of a training crop in gt pixels, a multiple of ``scale``.
        batch_size: samples of one step over all processes.
        validation: folder or embedded set to validate on; or the number of training pictures to hold out (the last
            by name); or null for the ``*_valid_HR`` folder under ``root``.
        val_limit: validate on the first so many pictures of it only; null for all.
        benchmarks: folders scored once, after training.
        degradations: applied to lq behind the bicubic shrink, in training and validation.
        num_workers: loader processes; changes nothing but speed.
        cache_gb: decoded training pictures are kept in memory up to this many GiB.
        seed: of order, crops, flips and degradations.

    Raises:
        ValueError, FileNotFoundError: settings that do not fit, and everything wrong with the files, at once.
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
        seed: int = 0,
    ) -> None:
        super().__init__()
        if patch_size < scale or patch_size % scale:
            nearest = max(1, round(patch_size / scale)) * scale
            raise ValueError(
                f"data.patch_size is {patch_size}, expected a multiple of the scale {scale}, for example {nearest}"
            )
        if val_limit is not None and val_limit < 1:
            raise ValueError(f"data.val_limit is {val_limit}, expected at least 1 picture, or null for all")
        if num_workers < 0 or cache_gb < 0:
            raise ValueError(
                f"data.num_workers is {num_workers} and data.cache_gb is {cache_gb}, expected at least 0 of each"
            )
        self.scale, self.patch_size, self.batch_size = scale, patch_size, batch_size
        self.num_workers, self.seed, self.degradations = num_workers, seed, degradations
        self.pictures = Pictures(cache_gb)
        roots = [root] if isinstance(root, str) else root
        if not roots:
            raise ValueError("data.root is empty, expected a folder or a list of folders")
        if not isinstance(degradations, Sequence) or not all(callable(each) for each in degradations):
            raise ValueError(f"data.degradations is {degradations}, expected a list of _target_s, or []")
        if validation is None:
            validation = str(next(Path(roots[0]).glob("*_valid_HR"), Path(roots[0]) / "*_valid_HR"))
        self.train_pairs, held_out = self._split(roots, validation)
        name = set_name(validation) if isinstance(validation, str) else f"{set_name(roots[0])}_held_out"
        self.validation_sets = {name: held_out[:val_limit]}
        self.test_sets = dict(self.validation_sets)
        for folder in benchmarks:
            if set_name(folder) in self.test_sets:
                raise ValueError(f"data.benchmarks: {folder} has another set's name; rename one, results go by name")
            self.test_sets[set_name(folder)] = find_pairs(folder, scale, setting="data.benchmarks")

    def _split(self, roots: list[str], validation: str | int) -> tuple[list[Pair], list[Pair]]:
        pairs = [pair for root in roots for pair in find_pairs(root, self.scale)]
        if isinstance(validation, str):
            return pairs, find_pairs(validation, self.scale, setting="data.validation")
        if len(pairs) < 2:
            raise ValueError(
                f"data.root={','.join(roots)} holds one picture, expected at least two, one of them to hold out; "
                "or set data.validation to a folder or to photos_held_out"
            )
        if not 1 <= validation < len(pairs):
            raise ValueError(
                f"data.validation is {validation}, expected a folder, or 1 to {len(pairs) - 1} pictures to hold out "
                f"of the {len(pairs)} in data.root={','.join(roots)}"
            )
        return pairs[:-validation], pairs[-validation:]

    @property
    def validation_names(self) -> list[str]:
        """Names of the validation sets, in the order of their loaders."""
        return list(self.validation_sets)

    @property
    def test_names(self) -> list[str]:
        """Names of the sets scored at the end: validation first, then the benchmarks."""
        return list(self.test_sets)

    def check(self) -> dict[str, str]:
        """Decode every file once, keep the training pictures in memory while they fit.

        Returns:
            Each set's fingerprint.
        """
        fingerprint, problems = {}, []
        crop = (self.patch_size, "data.patch_size", self.pictures)
        whole = (2 * self.scale + 11, "crop_border leaves less than SSIM's window of a smaller one", None)
        sets = [("training", self.train_pairs, crop)] + [(name, p, whole) for name, p in self.test_sets.items()]
        for name, pairs, (side, reason, pictures) in sets:
            try:
                fingerprint[name] = check_pairs(
                    pairs, self.scale, smallest_gt=side, reason=reason, pictures=pictures, setting="data"
                )
            except DataProblem as error:
                problems += error.problems
        if problems:
            raise DataProblem("data", problems)
        return fingerprint

    def train_dataloader(self) -> DataLoader[Sample]:
        """Batches of the whole run, starting where a resumed run stopped."""
        trainer: Any = self.trainer
        batches = trainer.max_steps * trainer.accumulate_grad_batches
        crops = TrainingCrops(
            self.train_pairs,
            scale=self.scale,
            patch_size=self.patch_size,
            count=batches * self.batch_size,
            seed=self.seed,
            degradations=self.degradations,
            pictures=self.pictures,
        )
        sampler = RunSampler(
            batches,
            self.batch_size,
            start=trainer.fit_loop.epoch_loop.batch_progress.current.ready,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
        return self._loader(crops, batch_sampler=sampler)

    def val_dataloader(self) -> list[DataLoader[Sample]]:
        """One loader per validation set, whole images one by one."""
        return [self._whole(pairs) for pairs in self.validation_sets.values()]

    def test_dataloader(self) -> list[DataLoader[Sample]]:
        """One loader per test set."""
        return [self._whole(pairs) for pairs in self.test_sets.values()]

    def _whole(self, pairs: list[Pair]) -> DataLoader[Sample]:
        images = WholeImages(pairs, scale=self.scale, seed=self.seed, degradations=self.degradations)
        trainer: Any = self.trainer
        return self._loader(
            images, sampler=ShareSampler(len(pairs), rank=trainer.global_rank, world=trainer.world_size)
        )

    def _loader(self, dataset: Dataset[Sample], **order: Any) -> DataLoader[Sample]:
        trainer: Any = self.trainer
        on_gpu = trainer.strategy.root_device.type == "cuda"
        return DataLoader(dataset, num_workers=self.num_workers, pin_memory=on_gpu, worker_init_fn=one_thread, **order)
