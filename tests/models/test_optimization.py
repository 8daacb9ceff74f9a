from typing import Any

import pytest
import torch
from torch import nn

from restore.io.errors import SettingError
from restore.models import optimization


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("betas", [0.9]),
        ("betas", [0.9, 1.0]),
        ("weight_decay", -1.0),
    ],
)
def test_settings_that_adam_does_not_take_are_named(key: str, value: Any) -> None:
    settings: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.99)} | {key: value}
    with pytest.raises(SettingError) as error:
        optimization.check_adam(**settings)
    assert (error.value.key, error.value.got) == (f"model.{key}", value)


def test_bounds_of_weights_and_steps_are_their_own() -> None:
    optimization.check_weight("w", 0.0)
    optimization.check_steps("n", 1, least=1)
    with pytest.raises(SettingError) as error:
        optimization.check_weight("w", float("inf"))
    assert error.value.key == "model.w"
    with pytest.raises(SettingError) as error:
        optimization.check_steps("n", 0, least=1)
    assert (error.value.key, error.value.got) == ("model.n", 0)


def test_warm_up_rises_linearly_onto_the_schedule() -> None:
    factor = optimization.warmed_up(lambda step: 0.5 if step < 6 else 0.25, 4)
    assert [factor(step) for step in range(8)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.25, 0.25])
    assert optimization.warmed_up(lambda step: 1.0, 0)(0) == 1.0


def test_a_loaded_state_takes_this_runs_settings() -> None:
    """As Lightning does it: the schedule is at the step of the checkpoint, with the rate of the run that loads it."""

    def parts(lr: float) -> Any:
        torch.manual_seed(0)
        return optimization.scheduled(torch.optim.Adam(nn.Linear(2, 2).parameters(), lr, (0.5, 0.6)), halved)

    def halved(step: int) -> float:
        return float(0.5 ** (step // 2))

    first = parts(0.1)
    for _ in range(3):
        first["optimizer"].step()
        first["lr_scheduler"]["scheduler"].step()
    stored: dict[str, Any] = {
        "global_step": 3,
        "optimizer_states": [first["optimizer"].state_dict()],
        "lr_schedulers": [first["lr_scheduler"]["scheduler"].state_dict()],
    }
    optimization.keep_own_settings(stored, halved, lr=0.8, betas=(0.9, 0.99))
    second = parts(0.8)
    second["optimizer"].load_state_dict(stored["optimizer_states"][0])
    second["lr_scheduler"]["scheduler"].load_state_dict(stored["lr_schedulers"][0])
    (group,) = second["optimizer"].param_groups
    assert (group["lr"], group["betas"]) == (0.4, (0.9, 0.99))
    second["optimizer"].step()
    second["lr_scheduler"]["scheduler"].step()
    assert group["lr"] == 0.2
