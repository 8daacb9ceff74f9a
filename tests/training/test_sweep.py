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

from tests.conftest import TINY, Cli
from tests.docs_lines import lines_for

pytestmark = pytest.mark.slow

OPTIONS = (*TINY, "callbacks.panels=null", "val_every_steps=1000", "data.num_workers=0", "checkpoint.every_steps=5")
DOCUMENTED = lines_for(
    "tests/training/test_sweep.py::test_a_killed_point_is_a_failed_trial_and_a_sweep_that_is_ended_saves_its_points"
)
LAUNCHERS = [
    "hydra/launcher=basic",
    *(word for line in DOCUMENTED for word in line.restore or () if "launcher=" in word),
]
PATIENCE = 200.0  # seconds; other tests run beside this one


class Sweep:
    """A sweep over seeds in a folder, under way."""

    def __init__(self, folder: Path, launcher: str, seeds: str, steps: int) -> None:
        words = [*OPTIONS, launcher, f"seed={seeds}", f"trainer.max_steps={steps}", "name=s"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "restore.fit", "-m", *words],
            cwd=folder,
            stdout=(folder / "out").open("w"),
            stderr=subprocess.STDOUT,
        )
        self.folder, self.root = folder / "multirun" / "s", folder

    def words(self) -> str:
        return " ".join((self.root / "out").read_text().split())

    def wait(self, true: Callable[[], object], what: str) -> None:
        latest = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < latest, f"{what} did not come: {self.words()}"
            time.sleep(0.05)

    def trainings(self, below: Path | None = None) -> list[int]:
        """Process ids of the trainings, all or those of a point."""
        found, wanted = [], f"{below or self.folder}/"
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    command = (entry / "cmdline").read_bytes().decode().split("\0")
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if command[1:3] == ["-m", "restore.training.worker"] and command[3].startswith(wanted):
                    found.append(int(entry.name))
        return found

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

    def has_saved(self, seed: int) -> bool:
        return (self.point(seed) / "checkpoints" / "last.ckpt").exists()

    def summary(self) -> dict[str, dict[str, str]]:
        with (self.folder / "summary.csv").open() as file:
            return {row["point"]: row for row in csv.DictReader(file)}

    def end(self) -> int:
        return self.process.wait(PATIENCE)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_killed_point_is_a_failed_trial_and_a_sweep_that_is_ended_saves_its_points(
    tmp_path: Path, launcher: str
) -> None:
    sweep = Sweep(tmp_path, launcher, "1,2", steps=4000)
    sweep.wait(lambda: sweep.has_saved(1), "a checkpoint")
    os.kill(sweep.trainings(sweep.point(1))[0], signal.SIGKILL)
    sweep.wait(lambda: sweep.record(1)["ended"], "the end of the killed point")
    assert sweep.record(1)["status"] == "failed"
    assert "killed by SIGKILL" in str(sweep.record(1)["message"])

    sweep.wait(lambda: sweep.has_saved(2), "a checkpoint")
    sweep.process.send_signal(signal.SIGTERM)
    assert sweep.end() == 128 + signal.SIGTERM, sweep.words()
    assert sweep.trainings() == []
    assert "Traceback" not in sweep.words()
    found = sweep.summary()
    assert [found[f"seed={seed}"]["status"] for seed in (1, 2)] == ["failed", "broken off"]
    assert "ended by SIGTERM" in found["seed=2"]["message"]
    assert not list((sweep.folder / "points").glob("end_*"))


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_no_point_outlives_its_sweep_and_one_that_is_warned_is_broken_off(tmp_path: Path, launcher: str) -> None:
    sweep = Sweep(tmp_path, launcher, "1,2", steps=4000)
    sweep.wait(lambda: sweep.has_saved(1), "a checkpoint")
    os.kill(sweep.trainings(sweep.point(1))[0], signal.SIGUSR2)
    sweep.wait(lambda: sweep.record(1)["ended"], "the end of the warned point")
    assert sweep.record(1)["status"] == "broken off"
    assert "ended by SIGUSR2" in str(sweep.record(1)["message"])

    sweep.wait(lambda: sweep.has_saved(2), "a checkpoint")
    sweep.process.kill()  # and nobody collects it yet
    sweep.wait(lambda: not sweep.trainings(), "the end of the trainings")
    sweep.wait(lambda: not sweep.others(), "the end of the launcher's processes")
    assert sweep.end() == -signal.SIGKILL


def test_a_check_of_a_sweeps_points_leaves_its_records_alone(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("check", "-m", *OPTIONS, "seed=1", "name=s", "check.files=2", "check.steps=2")
    assert outcome.status == 0, outcome.err
    assert not (tmp_path / "multirun" / "s" / "points").exists()
