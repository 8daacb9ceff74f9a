"""The forecast of a whole run, calculated by hand from made-up times of a dry run."""

from dataclasses import replace

import pytest

from restore.preflight.dry_run import Batch, Evaluation, Measured, Profiler, StageTimes
from restore.preflight.forecast import Plan, forecast


def measured(stages: dict[str, list[Batch]], *, validation: float = 2.0, sample: float = 0.0) -> Measured:
    """A validation or test takes half a second for images, a validation ``validation`` seconds in all, the test 3."""
    return Measured(
        start=2.0,
        stages={name: StageTimes(batches, Evaluation(0.5, validation - 0.5)) for name, batches in stages.items()},
        test=Evaluation(0.5, 2.5),
        save=0.1,
        checkpoint_bytes=1,
        sample=sample,
        device="cpu",
        peak_bytes=1,
        loss=0.1,
    )


PLAN = Plan(stages={"one": 150, "two": 100}, val_every=100, save_every=50, batch_size=4, pixels=(3.0, 4.0))
ALIKE = {name: [Batch(0.2, 0.0)] * 12 for name in ("one", "two")}


def test_the_forecast_by_hand() -> None:
    usual = [Batch(0.2, 0.05)] * 5
    batches = {
        "one": [Batch(1.0, 0), Batch(0.3, 0), *usual, Batch(0.2, 0)],
        "two": [Batch(0.2, 0), Batch(0.2, 0), *usual, Batch(2.2, 0)],
    }
    found = forecast(measured(batches), PLAN, before=5.0)
    assert found.steps == pytest.approx(250 * 0.2)
    assert found.change == pytest.approx(0.9 + 2.0)
    # after the steps 100, 200 and 250: 1.5 s, and three times half a second
    assert found.validations == pytest.approx(3 * (1.5 + 3 * 0.5))
    assert found.saves == pytest.approx((5 + 3) * 0.1)
    assert found.test == pytest.approx(2.5 + 4 * 0.5)
    assert found.waiting == pytest.approx(0.25)
    assert found.training == pytest.approx(2 + 50 + 2.9 + 9 + 0.8)
    assert found.total == pytest.approx(5 + found.training + 4.5)


def test_a_resumed_run_has_fewer_steps_left() -> None:
    whole, late, last = (forecast(measured(ALIKE), replace(PLAN, begin=k), 5.0) for k in (0, 120, 170))
    assert [each.steps for each in (whole, late, last)] == pytest.approx([250 * 0.2, 130 * 0.2, 80 * 0.2])
    assert late.validations == last.validations == pytest.approx(2 * 3.0)  # after the steps 200 and 250
    assert late.saves == pytest.approx((3 + 2) * 0.1)
    assert late.start == whole.start


def test_processes_share_images_and_nothing_else() -> None:
    plan = replace(PLAN, stages={"one": 100})
    one, two, many = (forecast(measured(ALIKE), replace(plan, processes=count), 5.0) for count in (1, 2, 100))
    assert one.validations - two.validations == pytest.approx(1.5 * 0.5)  # half of three times the images tried
    assert one.test - two.test == pytest.approx(2.0 * 0.5)
    assert one.test - many.test == pytest.approx((4 - 1 / 3) * 0.5)  # at least one of the three tried
    assert one.steps == two.steps == many.steps


def test_slow_loader_workers_count_although_they_were_ahead() -> None:
    plan = replace(PLAN, stages={"one": 100}, workers=2)
    found = forecast(measured(ALIKE, sample=0.3), plan, 5.0)
    assert found.step["one"] == pytest.approx((0.6, 0.4))  # 4 samples of 0.3 s by two workers


def test_what_a_method_does_once_in_a_period_counts() -> None:
    batches = [Batch(0.1, 0)] * 2 + [Batch(0.1, 0), Batch(0.1, 0), Batch(0.4, 0)] * 2 + [Batch(0.1, 0)]
    found = forecast(measured({"one": batches}), replace(PLAN, stages={"one": 90}, period=3), 5.0)
    assert found.step["one"].seconds == pytest.approx(0.2)


def test_recorded_times_are_divided_among_batches_and_evaluations() -> None:
    profiler = Profiler()
    profiler.recorded_durations |= {
        "[_TrainingEpochLoop].train_dataloader_next": [0.1, 0.2],
        "run_training_batch": [1.0, 2.0],
        "[Callback]A.on_train_batch_end": [0.5, 0.5],
        "[Strategy]S.training_step": [0.9, 1.9],  # within run_training_batch
        "[_EvaluationLoop].val_next": [0.1] * 4,
        "[Strategy]S.validation_step": [1.0, 1.0, 2.0, 2.0],
        "[Callback]A.on_validation_batch_end": [0.25] * 4,
        "[Callback]A.on_validation_end": [0.5, 0.5],
    }
    assert [tuple(each) for each in profiler.batches(2)] == [pytest.approx((1.6, 0.1)), pytest.approx((2.7, 0.2))]
    found = profiler.evaluations(2, "validation", "val")
    assert [tuple(each) for each in found] == [pytest.approx((2.2, 1.0)), pytest.approx((4.2, 1.0))]
