"""Scores one picture after another, in this process or in others."""

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


class Job(NamedTuple):
    """A picture to score.

    Attributes:
        key: of its row. benchmark, number: which picture. file: where the restored one is kept, or None.
    """

    key: str
    benchmark: str
    number: int
    file: Path | None


@dataclass(frozen=True)
class Scorer:
    """Opens a restorer in a process, and scores the pictures that are given to it there."""

    ckpt_path: str
    settings: dict[str, Any]
    sets: "dict[str, WholeImages | TranslationImages]"
    protocol: str

    def start(self, number: int) -> Worker:
        """In a process."""
        from restore.inference.load import open_restorer

        return functools.partial(self.score, open_restorer(self.ckpt_path, **self.settings))

    def score(self, restorer: "Restorer", job: Job, context: Context) -> Row | None:
        """The row of one picture, or None when it was interrupted."""
        from restore.image import writing
        from restore.image.picture import Picture
        from restore.inference.restorer import Interrupted
        from restore.metrics.protocols import protocol

        sample, started = self.sets[job.benchmark][job.number], time.perf_counter()

        def progress(done: int, total: int) -> None:
            context.report(f"{sample['name']}: {restorer.phase}", done, total)

        try:
            pred = restorer.restore(sample["lq"], progress=progress, cancel=context.cancel)
        except Interrupted:
            return None
        except ValueError as error:
            raise ValueError(f"{job.benchmark}/{sample['name']}: {error}") from error
        seconds = time.perf_counter() - started
        if context.cancel():  # zero-shot gives the best so far, which is no score
            return None
        if job.file is not None:
            writing.write(job.file, Picture.of(pred))
        scale = int(restorer.scale)
        row = {"benchmark": job.benchmark, "image": sample["name"], "scale": scale, "protocol": self.protocol}
        row |= {"seconds": seconds, "notes": dict(restorer.notes)}
        return row | protocol(self.protocol).score(pred, sample["gt"], scale=scale)
