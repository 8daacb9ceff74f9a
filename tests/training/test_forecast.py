"""The forecast of a whole run, calculated by hand from made-up times of a dry run."""

import numpy as np
import pytest

from restore.training.dry_run import Measured
from restore.training.forecast import PlannedRun, Rest, forecast

# a validation or test takes half a second for images
MEASURED = Measured(
    start=2.0,
    step=np.array([0.2, 0.4]),
    wait=np.array([0.05, 0.05]),
    validation=np.array([[0.5, 1.5], [0.5, 2.0]]),
    test=np.array([0.5, 2.5]),
    save=0.1,
    sample=0.01,
    device="cpu",
)
WHOLE = PlannedRun({"one": 150, "two": 100}, begin=0, val_every=100, save_every=50, processes=1)
REST = Rest(validation=3.0, test=4.0)


def test_the_forecast_by_hand() -> None:
    assert forecast(WHOLE, MEASURED, REST, 5.0) == pytest.approx(
        {
            "preparation": 5,
            "start": 2,
            "steps": 150 * 0.2 + 100 * 0.4,
            "validation": 3 * (0.6 * 1.5 + 0.4 * 2.0 + 3 * 0.5),  # after the steps 100, 200 and 250
            "checkpoints": (5 + 3) * 0.1,
            "test": 2.5 + 4 * 0.5,
        }
    )


def test_a_resumed_run_has_fewer_steps_left() -> None:
    late, last = (forecast(WHOLE._replace(begin=k), MEASURED, REST, 5.0) for k in (120, 170))
    assert (late["steps"], last["steps"]) == pytest.approx((30 * 0.2 + 100 * 0.4, 80 * 0.4))
    assert last["validation"] == pytest.approx(2 * (2.0 + 3 * 0.5))  # after the steps 200 and 250
    assert late["checkpoints"] == pytest.approx((3 + 2) * 0.1)
    assert forecast(WHOLE._replace(begin=250), MEASURED, REST, 5.0)["steps"] == 0


def test_processes_share_images_and_nothing_else() -> None:
    one, two, many = (forecast(WHOLE._replace(processes=k), MEASURED, REST, 5.0) for k in (1, 2, 100))
    assert one["validation"] - two["validation"] == pytest.approx(3 * 1.5 * 0.5)  # half of three times the images tried
    assert one["test"] - many["test"] == pytest.approx((4 - 1 / 3) * 0.5)  # at least one of the three tried
    assert one["steps"] == two["steps"] == many["steps"]
