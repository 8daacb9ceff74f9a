import inspect
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import restore
from restore.data.internal_pairs import CropSettings
from restore.data.single_image import SingleImageData
from restore.inference.single_image_training import Watch
from restore.io.errors import SettingError
from restore.models.zero_shot import scale_steps
from restore.models.zero_shot.lr_policy import ScaleStep
from restore.models.zero_shot.model import ZeroShotSuperResolution
from restore.models.zero_shot.network import ZeroShotNetwork
from restore.models.zero_shot.settings import TrainingSettings
from restore.ops.resize import resize
from tests.models.zero_shot.test_zero_shot import photo


@pytest.mark.parametrize(
    ("training", "key"),
    [
        ({"model": {"widht": 3}}, "zero_shot.model.widht"),
        ({"model": {"width": "wide"}}, "zero_shot.model.width"),
        ({"data": {"patch_size": 2.5}}, "zero_shot.data.patch_size"),
        ({"max_steps": 0}, "zero_shot.max_steps"),
    ],
)
def test_settings_of_zero_shot_from_python_are_refused_by_name(training: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingError) as error:
        restore.load("zero_shot", scale=2, zero_shot=training)
    assert error.value.key == key


def test_the_settings_that_are_checked_before_the_training_are_those_of_the_training() -> None:
    def arguments(*constructors: Any) -> dict[str, Any]:
        return {name: each.default for one in constructors for name, each in inspect.signature(one).parameters.items()}

    assert arguments(ZeroShotNetwork, TrainingSettings) == arguments(ZeroShotSuperResolution)
    given = ("image", "scale", "seed")
    of_data = {name: value for name, value in arguments(SingleImageData).items() if name not in given}
    assert arguments(CropSettings) == of_data


@pytest.mark.parametrize(
    ("deadline", "expected"),
    # ten of 100 steps a second from second 5 on; the time until second 9 is used up sooner
    [(None, [10, 20, 30, 40, 50]), (9.0, [25, 50, 75, 100, 100]), (105.0, [10, 20, 30, 40, 50])],
)
def test_the_progress_of_a_zero_shot_training_knows_its_time_limit(
    monkeypatch: pytest.MonkeyPatch, deadline: float | None, expected: list[int]
) -> None:
    now, told = [5.0], list[tuple[int, int]]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    model = ZeroShotSuperResolution(width=4, depth=1)
    model.steps.records = [ScaleStep(begin=0, from_batch=0, father=None, budget=100, dropped=0)]
    watch = Watch(lambda done, total: told.append((done, total)), deadline)
    for second in range(1, 6):
        now[0] = 5.0 + second
        watch.on_train_batch_end(SimpleNamespace(global_step=10 * second), model, None, None, 0)  # type: ignore[arg-type]
    assert told == [(each, 100) for each in expected]


def test_where_training_does_not_beat_it_bicubic_is_back_projected_if_that_helps() -> None:
    """On white noise back-projection gives the estimate of least mean square error."""
    noise = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0))
    bicubic = restore.load("bicubic", scale=2).restore(noise)
    missing = []
    for rounds in (0, 4):
        training = {"max_steps": 1, "start": "scratch", "model": {"width": 4, "depth": 1, "back_projection": rounds}}
        restorer = restore.load("zero_shot", scale=2, zero_shot=training, device="cpu")
        pred = restorer.restore(noise)
        assert restorer.fell_back
        assert ("back-projection" in restorer.notes["bicubic used"]) == bool(rounds)
        assert torch.equal(pred, bicubic) == (not rounds)
        missing.append(float((resize(pred, 0.5) - noise).abs().mean()))
    assert missing[1] < 0.5 * missing[0]


def test_a_part_is_enlarged_by_what_the_whole_image_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    fathers, add = list[list[tuple[int, ...]]](), SingleImageData.add

    def recorded(self: SingleImageData, found: Sequence[Tensor], *args: Any, **settings: Any) -> None:
        fathers.append([tuple(father.shape[1:]) for father in found])
        add(self, found, *args, **settings)

    monkeypatch.setattr(SingleImageData, "add", recorded)
    monkeypatch.setattr(scale_steps, "CLEAR_GAIN", -1e9)  # so few steps need not beat bicubic
    whole = photo(40)
    part = whole[:, 4:20, 8:24]
    small = {"model": {"width": 4, "depth": 1}, "data": {"patch_size": 16}}
    training = {"max_steps": 6, "start": "scratch", **small}
    restorer = restore.load("zero_shot", scale=4, zero_shot=training, device="cpu", self_ensemble="false")
    alone = restorer.restore(part)
    restorer.source = part
    assert torch.equal(restorer.restore(part), alone)
    restorer.source = whole
    fathers.clear()
    pred = restorer.restore(part)
    assert pred.shape == alone.shape
    assert not torch.equal(pred, alone)
    assert fathers == [[(40, 40)], [(40, 40), (32, 32)]]
