"""What ``restore benchmark`` is to measure, and how: by the median, and in fresh processes."""

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
    """What is measured.

    Attributes:
        build: makes the model, its arguments changed by those given.
        model_class: of what ``build`` makes. model_arguments: of the configuration.
        model_overrides: words of the command line that choose the model, for measurements in fresh processes.
        runs: how often each thing is timed. steps: of a training beside its forecast.
        batch_size, patch_size: of a training step; gt pixels.
        side, sides: lq pixels. image_size: (height, width), lq pixels.
        budgets_gb, memory_gb: GiB. slots: values of ``trainer.max_time``.
        ckpt_path: whose tiles are measured.
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
        """Of the model; 1 where it has no such argument."""
        return int(self.model_arguments.get("scale", 1))


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Median of the seconds that a piece of work takes; it is done once more before."""
    work()  # not counted: caches fill, memory is taken
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[runs // 2]


def fresh_process(workload: Workload, what: str, *overrides: str) -> str:
    """The result of one line that another process, with this one's model, measures."""
    output = run("restore.benchmark", f"what=[{what}]", *workload.model_overrides, *overrides)
    return output.strip().splitlines()[-1].split("  ")[-1].strip()


def run(module: str, *words: str) -> str:
    """What a command of ours prints, in a process of its own.

    Raises:
        ValueError: it failed; with what it says.
    """
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout
