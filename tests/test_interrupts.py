"""Ctrl-C at each moment of a training: it ends at once, keeps what was trained, and leaves no process."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from restore.checkpoints import reader
from tests import fork_server
from tests.conftest import TINY, photo
from tests.held_training import mark, wait_until, wait_until_held

STEPS = 3
SMALL = (
    *TINY,
    "callbacks.panels=null",
    "callbacks.ema=null",
    "data=sr_folder",
    "data.root=photos",
    "data.validation=1",
    "data.cache_gb=0",
    f"trainer.max_steps={STEPS}",
    "val_every_steps=100",
    "run_id=x",
)
# moment -> steps that are saved; None where there are none yet
SAVED = {"import": None, "data": None, "training": 2, "validation": STEPS, "test": STEPS, "report": STEPS}


@dataclass(frozen=True)
class HoldIn:
    """Called in a process that will train; it waits in the middle of something until it was signalled.

    Args:
        moment: of :data:`SAVED`. folder: for marks.
    """

    moment: str
    folder: Path

    def __call__(self) -> None:
        from restore.callbacks.seed_steps import SeedSteps
        from restore.data import file_checks
        from restore.models.base import RestorationModel
        from restore.training import train

        places: dict[str, tuple[Any, str]] = {
            "data": (file_checks, "check_pair"),
            "training": (SeedSteps, "on_train_batch_start"),
            "validation": (RestorationModel, "validation_step"),
            "test": (RestorationModel, "test_step"),
            "report": (train, "write_report"),
        }
        if self.moment == "import":
            del sys.modules["restore.training.train"]
            sys.meta_path.insert(0, self)
        else:
            owner, name = places[self.moment]
            setattr(owner, name, self._held(getattr(owner, name)))

    def find_spec(self, name: str, *_: object) -> None:
        """As an importer: hold, and let the next one find the module."""
        if name == "restore.training.train":
            self._wait()

    def _held(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def held(*given: Any, **named: Any) -> Any:
            if self.moment != "training" or given[-1] == 1:  # the number of the batch
                self._wait()
            return original(*given, **named)

        return held

    def _wait(self) -> None:
        mark(self.folder, 0)
        wait_until(lambda: (self.folder / "signalled").exists(), "the signal")


def members(group: int) -> list[int]:
    """Processes of a group that have not ended."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, leader = file.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
        if int(leader) == group and state not in "ZX":
            found.append(int(file.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("moment", SAVED)
def test_ctrl_c_ends_a_training_at_any_moment(tmp_path: Path, moment: str, workers: int) -> None:
    for k in range(3):
        photo(tmp_path / "photos" / f"{k}.png", seed=k)
    settings = (*SMALL, f"data.num_workers={workers}")
    hold = HoldIn(moment, tmp_path)
    running = fork_server.start("-m", "restore.fit", *settings, cwd=tmp_path, start_new_session=True, before=hold)
    wait_until_held(running, tmp_path)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    (tmp_path / "signalled").touch()
    out = running.communicate(timeout=60)[0]  # far above what it takes, so that only hanging fails
    assert running.returncode == 128 + signal.SIGINT, out
    assert "Traceback" not in out
    wait_until(lambda: not members(running.pid), "the end of all processes", 60)
    folder, saved = tmp_path / "outputs" / "super_resolution" / "x", SAVED[moment]
    if saved is None:
        assert not (folder / "checkpoints").exists()
        assert "Nothing was trained yet" in " ".join(out.split())
        return
    assert reader.read(folder / "checkpoints" / "last.ckpt")["global_step"] == saved
    assert "Nothing was trained yet" not in " ".join(out.split())
    if moment != "report":
        assert f"step {saved} of {STEPS} is saved" in out
