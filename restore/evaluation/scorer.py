"""Scores images with one restorer, one image at a time, in this process or in others."""

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
        key: of its row. benchmark, number: identify the image. file: path for the restored image, or None.
    """

    key: str
    benchmark: str
    number: int
    file: Path | None


@dataclass(frozen=True)
class Scorer:
    """Scores images with one restorer.

    Attributes:
        ckpt_path, settings: arguments of ``open_restorer``, to open the restorer again in another process.
        sets: whole images by benchmark. protocol: name of the protocol.
    """

    ckpt_path: str
    settings: dict[str, Any]
    sets: "dict[str, WholeImages | TranslationImages]"
    protocol: str

    def worker(self, restorer: "Restorer") -> Worker:
        """A function that scores a task with this restorer."""
        return functools.partial(self.score, restorer)

    def start(self) -> Worker:
        """The same in another process, where the restorer is opened again."""
        from restore.inference.load import open_restorer

        return self.worker(open_restorer(self.ckpt_path, **self.settings))

    def score(self, restorer: "Restorer", task: ScoringTask, context: Context) -> Row | None:
        """The row of one image, or None if the restoration was interrupted.

        Raises:
            ValueError: from the restorer or the protocol, with the name of the image.
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
        if context.cancel():  # when cancelled, zero-shot returns its best result so far, which must not be scored
            return None
        if task.file is not None:
            writing.write(task.file, DecodedImage.of(pred))
        scale = int(restorer.scale)
        row = {"benchmark": task.benchmark, "image": sample["name"], "scale": scale, "protocol": self.protocol}
        row |= {"seconds": seconds, "notes": dict(restorer.notes)}
        return row | protocol(self.protocol).score(pred, sample["gt"], scale=scale)
