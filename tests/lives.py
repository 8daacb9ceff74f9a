"""Lives of one run: each is a forked process that a real SIGKILL ends, so that a test pays for the imports once.

Run as ``-m tests.lives <seed> <fit's overrides>`` by :mod:`tests.fork_server`: a process without threads can fork.
Writes what happened into ``lives.json``.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning.pytorch
import matplotlib.figure  # noqa: F401  imported here, so that no life has to
import pytest
import torch

import restore.data.super_resolution
import restore.fit
import restore.models.super_resolution
import restore.training.train
from restore.callbacks.seed_steps import SeedSteps
from restore.checkpoints import atomic_io, checksum
from restore.checkpoints.atomic_io import AtomicCheckpointIO
from restore.io import files

KILLS = 6
COUNTED = Path("batches")  # one byte for each batch that any life began


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class WriterOS:
    """The checkpoint writer's ``os``: dies before or after one of its system calls."""

    def __init__(self, call: int, *, after: bool) -> None:
        self.left, self.after = call, after

    def __getattr__(self, name: str) -> Any:
        original = getattr(os, name)
        if name not in ("fsync", "link", "replace"):
            return original

        def called(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.after:
                die()
            result = original(*arguments)
            if self.left == 0:
                die()
            return result

        return called


class TornFile:
    """A file whose writer dies in the middle."""

    def __init__(self, path: Path, mode: str) -> None:
        self.file = open(path, mode)  # noqa: SIM115  it is closed by nobody

    def __enter__(self) -> "TornFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def fileno(self) -> int:
        return self.file.fileno()

    def write(self, content: bytearray) -> None:
        self.file.write(content[: random.randrange(len(content))])
        self.file.flush()
        die()


def live(options: list[str], prepare: Callable[[], None]) -> int:
    """Fork a life; its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        log = os.open("lives.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        original, count = SeedSteps.on_train_batch_start, os.open(COUNTED, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def counted(self: SeedSteps, *arguments: Any) -> None:
            os.write(count, b".")
            original(self, *arguments)

        setattr(SeedSteps, "on_train_batch_start", counted)  # noqa: B010  an assignment would need its types
        prepare()
        sys.argv = ["fit", *options]
        try:
            restore.fit.main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
    finally:
        os._exit(status)


def batches() -> int:
    return COUNTED.stat().st_size if COUNTED.exists() else 0


def killed_outside(options: list[str]) -> int:
    """A life killed at any moment of a batch; minus the signal, or its status where it ended before.

    It is killed after its first checkpoint, which is due every four batches, so that the run goes on whatever happens
    to the lives that die while they write.
    """
    aim, child = batches() + random.randrange(5, 9), live(options, lambda: None)
    while batches() < aim:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_inside(options: list[str]) -> int:
    """A life that dies while it writes a checkpoint."""

    def prepare() -> None:
        random.seed(os.getpid())
        if random.random() < 0.3:
            deadly: list[tuple[ModuleType, str, Any]] = [(files, "open", TornFile)]
        else:
            system = WriterOS(random.randint(1, 5), after=random.random() < 0.5)
            deadly = [(module, "os", system) for module in (files, atomic_io)]
        original = AtomicCheckpointIO.save_checkpoint

        def save(self: AtomicCheckpointIO, *arguments: Any, **options: Any) -> None:
            with pytest.MonkeyPatch.context() as patch:  # other files are written by the same functions
                for module, name, value in deadly:
                    patch.setattr(module, name, value, raising=False)
                original(self, *arguments, **options)

        setattr(AtomicCheckpointIO, "save_checkpoint", save)  # noqa: B010  an assignment would need its types

    return os.waitstatus_to_exitcode(os.waitpid(live(options, prepare), 0)[1])


def checkpoints(folder: Path) -> dict[str, int]:
    """Step of every checkpoint; -1 of one that cannot be read or is not sound."""
    steps = {}
    for path in sorted(folder.glob("*.ckpt")):
        try:
            step = int(torch.load(path, weights_only=True)["global_step"])
        except (RuntimeError, EOFError, ValueError, OSError):
            step = -1
        steps[path.name] = step if checksum.is_sound(path) else -1
    return steps


def main() -> None:
    """Kill one run so many times, let it end, and report."""
    random.seed(int(sys.argv[1]))
    lightning.pytorch.seed_everything(0, verbose=False)
    options = sys.argv[2:]
    run_id = next(option.removeprefix("run_id=") for option in options if option.startswith("run_id="))
    folder = Path("outputs/super_resolution") / run_id / "checkpoints"
    ends, seen = [], []
    for life in range(KILLS):
        ends.append(killed_inside(options) if life % 2 else killed_outside(options))
        seen.append(checkpoints(folder))
    last = os.waitstatus_to_exitcode(os.waitpid(live(options, lambda: None), 0)[1])
    told = {"ends": ends, "seen": seen, "status": last, "batches": batches()}
    Path("lives.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
