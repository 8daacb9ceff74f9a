"""Scores one image after another with one restorer, in this process or in others."""

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from restore.distributed.process_pool import Context, Worker
from restore.runs.results import Row

if TYPE_CHECKING:
    from restore.data.datasets import WholeImages
    from restore.data.translation_dataset import TranslationImages
    from restore.inference.restorer import Restorer


class ScoringTask(NamedTuple):
    """An image to score.

    Attributes:
        key: of its row. benchmark, number: which image. file: where the restored image is kept, or None.
    """

    key: str
    benchmark: str
    number: int
    file: Path | None


@dataclass(frozen=True)
class Scorer:
    """Scores images with one restorer.

    Attributes:
        ckpt_path, settings: arguments of ``open_restorer``, which opens the restorer again in another process.
        sets: whole images by benchmark. protocol: its name.
    """

    ckpt_path: str
    settings: dict[str, Any]
    sets: "dict[str, WholeImages | TranslationImages]"
    protocol: str

    def worker(self, restorer: "Restorer") -> Worker:
        """Scores the task that it is given."""
        return functools.partial(self.score, restorer)

    def start(self) -> Worker:
        """The same in another process, with the restorer opened there."""
        from restore.inference.load import open_restorer

        return self.worker(open_restorer(self.ckpt_path, **self.settings))

    def score(self, restorer: "Restorer", task: ScoringTask, context: Context) -> Row | None:
        """The row of one image, or None where the restoration was interrupted.

        Raises:
            ValueError: of the restorer or the protocol, with the name of the image.
        """
        from restore.image import writing
        from restore.image.decoded_image import DecodedImage
        from restore.inference.restorer import RestorationCancelled
        from restore.metrics.protocols import protocol

        sample, started = self.sets[task.benchmark][task.number], time.perf_counter()

        def progress(done: int, total: int) -> None:
            context.report(f"{sample['name']}: {restorer.phase}", done, total)

        try:
            pred = restorer.restore(sample["lq"], progress=progress, cancel=context.cancel)
        except RestorationCancelled:
            return None
        except ValueError as error:
            raise ValueError(f"{task.benchmark}/{sample['name']}: {error}") from error
        seconds = time.perf_counter() - started
        if context.cancel():  # zero-shot returns the best so far, which is no score
            return None
        if task.file is not None:
            writing.write(task.file, DecodedImage.of(pred))
        scale = int(restorer.scale)
        row = {"benchmark": task.benchmark, "image": sample["name"], "scale": scale, "protocol": self.protocol}
        row |= {"seconds": seconds, "notes": dict(restorer.notes)}
        return row | protocol(self.protocol).score(pred, sample["gt"], scale=scale)
