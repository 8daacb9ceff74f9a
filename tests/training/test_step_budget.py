"""A number of steps that fits a time: the arithmetic, a run that keeps it, and the end of one that became slow."""

import contextlib
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from restore.callbacks.end_in_slot import EndInSlot, Plan
from restore.io.errors import SettingError
from restore.training import step_budget
from restore.training.forecast import PlannedRun, forecast
from tests.conftest import Cli, photo
from tests.test_fit import FAST, crash_at, last, run_folder, same_weights
from tests.training.test_forecast import MEASURED, REST

SHARES = PlannedRun({"one": 0.6, "two": 0.4}, begin=0, val_every=100, save_every=50, processes=1)


@pytest.mark.parametrize("begin", [0, 30])
def test_the_most_steps_that_end_in_time(begin: int) -> None:
    run = SHARES._replace(begin=begin)
    plan = step_budget.planned(600, 500, run, MEASURED, REST)
    needed = [
        sum(forecast(run._replace(stages={"one": 0.6 * n, "two": 0.4 * n}), MEASURED, REST, 0).values())
        for n in (plan.max_steps, plan.max_steps + 1)
    ]
    assert needed[0] <= 500 - step_budget.MARGIN * 600 < needed[1]
    assert plan.training + plan.scoring == pytest.approx(needed[0])
    assert [end for end, _ in plan.stages] == [round(0.6 * plan.max_steps), plan.max_steps]


def test_a_time_for_hardly_a_step_is_refused() -> None:
    with pytest.raises(SettingError) as error:
        step_budget.planned(20, 12, SHARES, MEASURED, REST)
    assert error.value.key == "trainer.max_time"
    assert "20 steps" in str(error.value)


class Training:
    """On a clock of its own, and ``slow`` times slower than planned; a validation after each tenth step takes 3 s."""

    def __init__(self, plan: Plan, ends: float, slow: float) -> None:
        self.now, self.slow, self.ended_early = 0.0, slow, False
        self.callback = EndInSlot(ends, plan, leaving=1.0, clock=lambda: self.now)
        self.trainer: Any = SimpleNamespace(
            accumulate_grad_batches=1,
            global_step=0,
            max_steps=plan.max_steps,
            world_size=1,
            val_check_batch=10,
            should_stop=False,
        )

    def run(self, seconds: Iterator[float]) -> float:
        """The time at which it is over, the last validation, 6 s of scoring and one of leaving included."""
        trainer: Any = self.trainer
        self.callback.on_train_start(trainer, self)  # type: ignore[arg-type]
        for step, each in zip(range(trainer.max_steps), seconds, strict=False):
            self.now, trainer.global_step = self.now + self.slow * each, step + 1
            self.callback.on_train_batch_end(trainer, self, None, None, step)  # type: ignore[arg-type]
            if trainer.should_stop or (step + 1) % 10 == 0:
                self.callback.on_validation_start(trainer, self)  # type: ignore[arg-type]
                self.now += 3 * self.slow
                self.callback.on_validation_end(trainer, self)  # type: ignore[arg-type]
            if trainer.should_stop:
                break
        return self.now + (6 + 1) * self.slow

    def end_early(self) -> None:
        self.ended_early = True


PLAN = Plan(40, [(20, 1.0), (40, 2.0)], training=72.0, validation=3.0, scoring=6.0)


def test_a_training_at_its_planned_speed_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    training = Training(PLAN, ends=85, slow=1)
    assert training.run(iter([1.0] * 20 + [2.0] * 20)) == 79
    assert not training.ended_early
    assert not training.callback.warnings
    assert not caplog.records


@pytest.mark.parametrize("slow", [1.3, 2.0, 3.7])
def test_a_training_that_became_slow_ends_in_time_and_says_so(slow: float, caplog: pytest.LogCaptureFixture) -> None:
    training = Training(PLAN, ends=85, slow=slow)
    over = training.run(iter([1.0] * 20 + [2.0] * 20))
    assert 85 - (2 + 3) * slow <= over <= 85
    assert training.ended_early
    assert training.callback.warnings == [caplog.records[-1].message]
    assert "slower than planned" in caplog.records[0].message


def test_a_run_with_chosen_steps_is_the_run_with_these_steps_and_keeps_them(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(2):
        photo(tmp_path / "photos" / f"{k}.png", seed=k)
    options = (*FAST, "data.root=photos", "data.validation=1", "checkpoint.every_steps=2")
    assert cli("fit", *options, "trainer.max_steps=6", "run_id=given").status == 0
    monkeypatch.setattr(step_budget, "LEAST", 2)
    monkeypatch.setattr(step_budget, "SHARE", 0)  # no second dry run
    monkeypatch.setattr("restore.fit.max_time.process_started", time.time)  # this process runs many tests
    with monkeypatch.context() as patch:

        def planned(*_: object) -> Plan:
            crash_at(patch, 4)  # of the training that follows
            return Plan(6, [(6, 0.1)], 1.0, 0.1, 0.1)

        patch.setattr(step_budget, "planned", planned)
        with contextlib.suppress(BaseException):
            cli("fit", *options, "trainer.max_time=1:00:00", "run_id=chosen")
    assert last(tmp_path, "chosen")["global_step"] == 4
    outcome = cli("fit", *options, "trainer.max_time=2:00:00", "run_id=chosen")
    assert outcome.status == 0, outcome.err
    assert same_weights(last(tmp_path, "given"), last(tmp_path, "chosen"))
    given, chosen = (run_folder(tmp_path, run_id) for run_id in ("given", "chosen"))
    stored = yaml.safe_load((chosen / "config.yaml").read_text())["trainer"]
    assert (stored["max_steps"], stored["max_time"]) == (6, "2:00:00")
    rows = [list(csv.DictReader((folder / "metrics.csv").open())) for folder in (given, chosen)]
    for row in (*rows[0], *rows[1]):
        row.pop("samples_per_s"), row.pop("data_share")
    assert rows[0] == rows[1]
    assert not (chosen / "dry_run").exists()
    outcome = cli("fit", *options, "run_id=chosen", "trainer.max_steps=7")
    assert outcome.status == 1
    assert "trainer.max_steps: 6 -> 7" in outcome.err
