"""The learning-rate policy as it runs, on synthetic reconstruction errors."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from restore.models.zero_shot import lr_policy
from restore.models.zero_shot.lr_policy import ScaleStep
from restore.models.zero_shot.model import ZeroShotSuperResolution
from restore.models.zero_shot.scale_steps import ScaleSteps
from restore.models.zero_shot.settings import equal_steps

Judge = Callable[..., bool]
SEEDS = range(20)


def drops(series: Callable[[int], float], judge: Judge = lr_policy.has_flattened, **settings: Any) -> list[int]:
    """Steps at which the learning rate falls in 1500 steps, with the callback's own hooks."""
    model = ZeroShotSuperResolution(width=4, depth=1, **settings)
    steps, found = model.steps, []
    steps.records = [ScaleStep(begin=0, from_batch=0, father=None, budget=10_000, dropped=0)]
    trainer: Any = SimpleNamespace(global_step=0, max_steps=10_000, should_stop=False, accumulate_grad_batches=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lr_policy, "has_flattened", judge)
        patch.setattr(ScaleSteps, "_measure", lambda self, trainer, record: _look(record, trainer.global_step, series))
        patch.setattr(ScaleSteps, "_end", lambda self, trainer, record, batch_idx: None)
        for step in range(1, 1501):
            trainer.global_step, before = step, steps.records[0].drops
            steps.on_train_batch_end(trainer, model, None, None, step - 1)
            found += [step] if steps.records[0].drops > before else []
    return found


def _look(record: ScaleStep, step: int, series: Callable[[int], float]) -> None:
    record.steps.append(step)
    record.errors.append(series(step))


def falling(seed: int, unit: float = 1) -> Callable[[int], float]:
    noise = np.random.default_rng(seed).normal(0, 1, 1501)
    return lambda step: float(unit * (1e-3 - 5e-7 * step + 2e-6 * noise[step]))


def flat(seed: int) -> Callable[[int], float]:
    noise = np.random.default_rng(seed).normal(0, 1, 1501)
    return lambda step: float(1e-3 + 2e-5 * noise[step])


def axes_swapped(steps: Sequence[float], errors: Sequence[float], *, ratio: float) -> bool:
    slope, start = np.polyfit(errors, steps, 1)  # as in the article's listing
    return bool(-ratio * slope < np.std(np.asarray(errors) - start - slope * np.asarray(steps)))


def residuals(steps: Sequence[float], errors: Sequence[float], *, ratio: float) -> bool:
    slope, start = np.polyfit(steps, errors, 1)
    return bool(-ratio * slope < np.std(np.asarray(errors) - start - slope * np.asarray(steps)))


def holds(judge: Judge = lr_policy.has_flattened, **settings: Any) -> bool:
    """A falling series keeps its learning rate, in any unit; a flat one drops it, mostly at the first look allowed."""
    kept = all(drops(falling(seed, unit), judge, **settings) == [] for seed in SEEDS for unit in (1, 1e8))
    first = [drops(flat(seed), judge, **settings)[:1] for seed in SEEDS]
    return kept and sum(found == [300] for found in first) >= 0.5 * len(SEEDS) and all(first)


def test_a_falling_series_keeps_the_learning_rate_and_a_flat_one_drops_it() -> None:
    assert holds()


@pytest.mark.parametrize("judge", [axes_swapped, residuals])
def test_the_listings_other_judgements_fail_the_same_test(judge: Judge) -> None:
    assert not holds(judge)


def test_a_check_interval_read_from_the_window_fails_the_same_test() -> None:
    assert not holds(lr_decay_step=256)


def test_drops_are_at_least_256_steps_apart() -> None:
    for seed in SEEDS:
        found = drops(flat(seed))
        assert all(later - earlier >= 256 for earlier, later in pairwise(found))


@pytest.mark.parametrize(
    ("scale", "steps"),
    [(2, [2]), (3, [3**0.5] * 2), (4, [2, 2]), (8, [2, 2, 2]), (2.5, [2.5]), (1.2, [1.2]), (6, [6 ** (1 / 3)] * 3)],
)
def test_the_scale_is_split_into_equal_steps(scale: float, steps: list[float]) -> None:
    assert equal_steps(scale) == pytest.approx(steps)
