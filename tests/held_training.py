"""What a process does before a test's training: count itself, or wait for a signal at a certain batch of it."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore.distributed.process_identity import ProcessIdentity
from restore.io.files import write_text
from tests.fork_server import Forked

PATIENCE = 300.0  # seconds; other tests run beside this one, and the machine may be slow


def wait_until(is_so: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Poll until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.02)


def mark(folder: Path, rank: int) -> None:
    """Say in the run folder that this process waits."""
    write_text(folder / f"held_{rank}", str(os.getpid()))


def held(folder: Path, processes: int = 1) -> list[int]:
    """Numbers of the processes that wait, once all of a run do; none before."""
    marks = [folder / f"held_{rank}" for rank in range(processes)]
    return [int(file.read_text()) for file in marks] if all(file.exists() for file in marks) else []


def wait_until_held(running: Forked, folder: Path, processes: int = 1) -> list[int]:
    """Numbers of the processes of a run, once they all wait."""
    wait_until(lambda: held(folder, processes) or running.poll() is not None, "the batch")
    found = held(folder, processes)
    assert found, running.output()
    return found


def wait_until_ended(processes: Iterable[ProcessIdentity]) -> None:
    """A killed process may be there for a moment."""
    wait_until(lambda: not any(each.is_alive() for each in processes), "the end of all processes")


def release(folder: Path, batch: int) -> None:
    """Before a signal to those that wait: no later life of the run waits at this batch again."""
    (folder / f"passed_{batch}").touch()
    for file in folder.glob("held_*"):
        file.unlink()


def first_of_all(folder: Path, module: str, code: str) -> dict[str, str]:
    """Environment in which a real ``python -m <module>`` begins with some code; ``folder`` holds what that needs."""
    place = folder / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text(f"import sys\nif sys.orig_argv[1:3] == ['-m', '{module}']:\n    {code}\n")
    root = Path(__file__).parent.parent
    return {"PYTHONPATH": os.pathsep.join([str(place), str(root), *filter(None, [os.environ.get("PYTHONPATH")])])}


@dataclass(frozen=True)
class HoldAt:
    """Called in a process that will train; every process of the training waits for a signal of its own.

    Args:
        batches: numbers from 0, over all lives of the run.
    """

    batches: tuple[int, ...]

    def __call__(self) -> None:
        from restore.callbacks.graceful_stop import GracefulStop
        from restore.callbacks.seed_steps import SeedSteps

        original = SeedSteps.on_train_batch_start

        def waiting(self_: SeedSteps, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            folder = Path(trainer.default_root_dir)
            if batch_idx in self.batches and not (folder / f"passed_{batch_idx}").exists():
                stop = next(each for each in trainer.callbacks if isinstance(each, GracefulStop))
                mark(folder, trainer.global_rank)
                wait_until(lambda: stop.received, "a signal")
            original(self_, trainer, pl_module, batch, batch_idx)

        setattr(SeedSteps, "on_train_batch_start", waiting)  # noqa: B010  an assignment would need its types


@dataclass(frozen=True)
class CountStarts:
    """Called at the start of a process: notes its module and rank.

    Args:
        file: for the notes.
    """

    file: Path

    def __call__(self) -> None:
        with self.file.open("a") as file:
            file.write(f"{sys.argv[1]} {os.environ.get('RANK', 'alone')}\n")

    def found(self) -> Counter[str]:
        """How often a module was started with a rank."""
        return Counter(self.file.read_text().splitlines())
