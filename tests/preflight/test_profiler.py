"""From the times that Lightning's profiler records to a stage's usual step."""

import pytest

from restore.preflight.profiler import Evaluation, Profiler, measured_stages


def recorded(batches: list[float], waits: list[float] | None = None) -> Profiler:
    """Two validations in each stage, of 2.2 and 4.2 s for images and a second for the rest."""
    profiler = Profiler()
    profiler.recorded_durations |= {
        "[_TrainingEpochLoop].train_dataloader_next": waits or [0.0] * len(batches),
        "run_training_batch": batches,
        "[Strategy]S.training_step": batches,  # within run_training_batch
        "[_EvaluationLoop].val_next": [0.1] * 4,
        "[Strategy]S.validation_step": [1.0, 1.0, 2.0, 2.0],
        "[Callback]A.on_validation_batch_end": [0.25] * 4,
        "[Callback]A.on_validation_end": [0.5, 0.5],
    }
    return profiler


def test_a_step_is_the_median_without_the_first_two_and_the_last() -> None:
    profiler = recorded([1.0, 0.3, *[0.15] * 5, 2.0], waits=[0.0, 0.0, *[0.05] * 5, 0.2])
    stage = measured_stages(profiler, ["one"], 8, period=1, least=0.0)["one"]
    assert stage[:3] == pytest.approx((0.2, 0.05, 1.3 + 2.2 - 3 * 0.2))
    assert stage.validation == pytest.approx(Evaluation(4.2, 1.0))
    assert stage.validation.seconds(images=10) == pytest.approx(43.0)


def test_the_batches_of_an_accumulated_step_are_added() -> None:
    stage = measured_stages(recorded([0.1] * 10), ["one"], 5, period=1, least=0.0)["one"]
    assert stage[:3] == pytest.approx((0.2, 0.0, 0.0))


def test_what_a_method_does_once_in_a_period_counts() -> None:
    profiler = recorded([0.1] * 2 + [0.1, 0.1, 0.4] * 2 + [0.1])
    assert measured_stages(profiler, ["one"], 9, period=3, least=0.0)["one"].step == pytest.approx(0.2)


def test_slow_loader_workers_count_although_they_were_ahead() -> None:
    stage = measured_stages(recorded([0.2] * 8), ["one"], 8, period=1, least=0.6)["one"]
    assert (stage.step, stage.wait) == pytest.approx((0.6, 0.4))
