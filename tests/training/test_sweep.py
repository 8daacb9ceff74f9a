"""What a sweep survives, and how it ends, by real commands and real signals."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from restore.distributed.process_identity import ProcessIdentity
from tests import fork_server
from tests.conftest import TINY, Cli
from tests.docs_lines import lines_for
from tests.fork_server import Forked
from tests.held_training import PATIENCE, HoldAt, held
from tests.stand_in_training import environment

pytestmark = pytest.mark.slow

SAVED = 5  # a checkpoint is written after so many steps, and then the training waits
OPTIONS = (
    *TINY,
    "callbacks.panels=null",
    "val_every_steps=1000",
    "data.num_workers=0",
    f"checkpoint.every_steps={SAVED}",
)
DOCUMENTED = lines_for(
    "tests/training/test_sweep.py::test_a_killed_point_is_a_failed_trial_and_a_sweep_that_is_ended_saves_its_points"
)
BASIC = "hydra/launcher=basic"
LAUNCHERS = [
    BASIC,
    *(word for line in DOCUMENTED for word in line.restore or () if "launcher=" in word),
]


class Sweep:
    """A sweep over two seeds in a folder, under way; both points wait for a signal.

    With Hydra's own launcher they are trainings. Those of other launchers are stand-ins, because there it is about
    processes alone, and all of these are real.
    """

    def __init__(self, folder: Path, launcher: str) -> None:
        words = ["-m", "restore.fit", "-m", *OPTIONS, launcher, "seed=1,2", "trainer.max_steps=20", "name=s"]
        self.folder, self.root, self._log = folder / "multirun" / "s", folder, folder / "out"
        self.process: Forked | subprocess.Popen[bytes]
        if launcher == BASIC:
            self.process = fork_server.start(*words, cwd=folder, before=HoldAt((SAVED,)))
            return
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], cwd=folder, env=environment(folder, "1,2"), stdout=log, stderr=log
            )

    def words(self) -> str:
        said = self.process.output() if isinstance(self.process, Forked) else self._log.read_text()
        return " ".join(said.split())

    def wait(self, true: Callable[[], object], what: str) -> None:
        latest = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < latest, f"{what} did not come: {self.words()}"
            time.sleep(0.05)

    def training(self, seed: int) -> ProcessIdentity:
        """The process that trains a point, once it waits with a checkpoint."""
        self.wait(lambda: held(self.point(seed)), f"the training of seed {seed}")
        assert (self.point(seed) / "checkpoints" / "last.ckpt").exists()
        return ProcessIdentity.of(held(self.point(seed))[0])

    def others(self) -> list[int]:
        """All processes that work in its folder, but for its own."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with suppress(OSError):  # gone meanwhile, or the system's
                    found += [int(entry.name)] * ((entry / "cwd").readlink() == self.root)
        return [number for number in found if number != self.process.pid]

    def record(self, seed: int) -> dict[str, object]:
        """What is known of a point."""
        records = [json.loads(file.read_text()) for file in (self.folder / "points").glob("*.json")]
        return next((dict(each) for each in records if f"seed={seed}" in each["overrides"]), {"ended": False})

    def point(self, seed: int) -> Path:
        return self.folder / str(self.record(seed).get("folder"))

    def summary(self) -> dict[str, dict[str, str]]:
        with (self.folder / "summary.csv").open() as file:
            return {row["point"]: row for row in csv.DictReader(file)}

    def end(self) -> int:
        return self.process.wait(PATIENCE)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_killed_point_is_a_failed_trial_and_a_sweep_that_is_ended_saves_its_points(
    tmp_path: Path, launcher: str
) -> None:
    sweep = Sweep(tmp_path, launcher)
    os.kill(sweep.training(1).number, signal.SIGKILL)
    sweep.wait(lambda: sweep.record(1)["ended"], "the end of the killed point")
    assert sweep.record(1)["status"] == "failed"
    assert "killed by SIGKILL" in str(sweep.record(1)["message"])

    training = sweep.training(2)
    sweep.process.send_signal(signal.SIGTERM)
    assert sweep.end() == 128 + signal.SIGTERM, sweep.words()
    assert not training.is_alive()
    sweep.wait(lambda: not sweep.others(), "the end of the launcher's processes")
    assert "Traceback" not in sweep.words()
    found = sweep.summary()
    assert [found[f"seed={seed}"]["status"] for seed in (1, 2)] == ["failed", "interrupted"]
    assert "ended by SIGTERM" in found["seed=2"]["message"]
    assert not list((sweep.folder / "points").glob("end_*"))
    if launcher == BASIC:
        saved = sweep.point(2) / "checkpoints" / "last.ckpt"
        assert torch.load(saved, weights_only=True)["global_step"] == SAVED + 1


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_no_point_outlives_its_sweep_and_one_that_is_warned_is_broken_off(tmp_path: Path, launcher: str) -> None:
    sweep = Sweep(tmp_path, launcher)
    os.kill(sweep.training(1).number, signal.SIGUSR2)
    sweep.wait(lambda: sweep.record(1)["ended"], "the end of the warned point")
    assert sweep.record(1)["status"] == "interrupted"
    assert "ended by SIGUSR2" in str(sweep.record(1)["message"])

    training = sweep.training(2)
    sweep.process.kill()  # and nobody collects it yet
    sweep.wait(lambda: not training.is_alive(), "the end of the training")
    sweep.wait(lambda: not sweep.others(), "the end of the launcher's processes")
    assert sweep.end() == -signal.SIGKILL


def test_a_check_of_a_sweeps_points_leaves_its_records_alone(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("check", "-m", *OPTIONS, "seed=1", "name=s", "check.files=2", "check.steps=2")
    assert outcome.status == 0, outcome.err
    assert not (tmp_path / "multirun" / "s" / "points").exists()
