"""The parameters of ``restore benchmark``, and its methods: medians, and new processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore.models.base import RestorationModel

Line = tuple[str, str]  # what, figure


@dataclass(frozen=True)
class Workload:
    """Parameters of the measurements.

    Attributes:
        build: makes the model, with arguments replaced by those given.
        model_class: class of the model. model_arguments: from the configuration.
        model_overrides: words of the command line that choose the model, for measurements in new processes.
        runs: repetitions of each timing. steps: of a training that is compared with its forecast.
        batch_size, patch_size: of a training step; patch_size in gt pixels.
        side, sides: lq pixels. image_size: (height, width), lq pixels.
        budgets_gb, memory_gb: GiB. slots: values of ``trainer.max_time``.
        ckpt_path: checkpoint for the measurement of tiles.
    """

    build: "Callable[..., RestorationModel]"
    model_class: type
    model_arguments: dict[str, Any]
    model_overrides: Sequence[str]
    runs: int
    steps: int
    batch_size: int
    patch_size: int
    side: int
    sides: Sequence[int]
    image_size: tuple[int, int]
    budgets_gb: Sequence[float]
    slots: Sequence[str]
    memory_gb: float
    ckpt_path: str | None

    @property
    def scale(self) -> int:
        """The model's scale; 1 if it has no such argument."""
        return int(self.model_arguments.get("scale", 1))


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Median time of a piece of work in seconds, after one run for warm-up."""
    work()  # warm-up: caches fill, memory is allocated
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[runs // 2]


def fresh_process(workload: Workload, what: str, *overrides: str) -> str:
    """The result of one measurement made in another process with the same model."""
    output = run("restore.benchmark", f"what=[{what}]", *workload.model_overrides, *overrides)
    return output.strip().splitlines()[-1].split("  ")[-1].strip()


def run(module: str, *words: str) -> str:
    """Run one of our commands in a new process, and return its output.

    Raises:
        ValueError: the command failed; contains its message.
    """
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout
