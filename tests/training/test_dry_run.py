"""From the times that Lightning's profiler records to a stage's usual step and to validations."""

import numpy as np
import pytest

from restore.training.dry_run import STEP, WAIT, Profiler


def recorded(batches: list[float], waits: list[float] | None = None) -> Profiler:
    """Two validations, of 2.2 and 4.2 s for images and a second for the rest."""
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
    profiler = recorded([1.0, 0.3, *[0.15] * 4, 0.5, 2.0], waits=[0.0, 0.0, *[0.05] * 5, 0.2])
    assert profiler.usual(1, 8, 1, *STEP) == pytest.approx([0.2])
    assert profiler.usual(1, 8, 1, *WAIT) == pytest.approx([0.05])
    assert profiler.evaluations(2, "validation", "val") == pytest.approx(np.array([[2.2, 1.0], [4.2, 1.0]]))


def test_the_batches_of_an_accumulated_step_are_added_and_stages_are_apart() -> None:
    assert recorded([0.1] * 10 + [0.2] * 10).usual(2, 5, 1, *STEP) == pytest.approx([0.2, 0.4])


def test_what_a_method_does_once_in_a_period_counts() -> None:
    assert recorded([0.1] * 2 + [0.1, 0.1, 0.4] * 2 + [0.1]).usual(1, 9, 3, *STEP) == pytest.approx([0.2])
