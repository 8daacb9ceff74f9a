"""The forecast of a whole run, calculated by hand from made-up times of a dry run."""

from dataclasses import replace

import pytest

from restore.preflight.dry_run import Measured
from restore.preflight.forecast import Forecast
from restore.preflight.profiler import Evaluation, StageTimes

# a validation or test takes half a second for images
STAGES = {
    "one": StageTimes(0.2, 0.05, 0.9, Evaluation(0.5, 1.5)),
    "two": StageTimes(0.2, 0.05, 2.0, Evaluation(0.5, 1.5)),
}
MEASURED = Measured(
    start=2.0,
    stages=STAGES,
    test=Evaluation(0.5, 2.5),
    save=0.1,
    checkpoint_bytes=1,
    sample=0.0,
    device="cpu",
    peak_bytes=1,
    loss=0.1,
)
WHOLE = Forecast(
    measured=MEASURED,
    stages={"one": 150, "two": 100},
    val_every=100,
    save_every=50,
    before=5.0,
    validation=3.0,
    test=4.0,
)


def test_the_forecast_by_hand() -> None:
    assert WHOLE.seconds == pytest.approx(
        {
            "before": 5,
            "start": 2,
            "steps": 250 * 0.2,
            "change": 0.9 + 2.0,
            "validations": 3 * (1.5 + 3 * 0.5),  # after the steps 100, 200 and 250
            "saves": (5 + 3) * 0.1,
            "test": 2.5 + 4 * 0.5,
            "training": 2 + 50 + 2.9 + 9 + 0.8,
            "total": 5 + 64.7 + 4.5,
        }
    )
    assert WHOLE.waiting == pytest.approx(0.25)


def test_a_resumed_run_has_fewer_steps_left() -> None:
    late, last = (replace(WHOLE, begin=k).seconds for k in (120, 170))
    assert (late["steps"], last["steps"]) == pytest.approx((130 * 0.2, 80 * 0.2))
    assert late["validations"] == last["validations"] == pytest.approx(2 * 3.0)  # after the steps 200 and 250
    assert late["saves"] == pytest.approx((3 + 2) * 0.1)
    assert (late["change"], last["change"]) == pytest.approx((2.9, 2.0))
    assert late["start"] == WHOLE.seconds["start"]


def test_processes_share_images_and_nothing_else() -> None:
    one, two, many = (replace(WHOLE, stages={"one": 100, "two": 0}, processes=k).seconds for k in (1, 2, 100))
    assert one["validations"] - two["validations"] == pytest.approx(1.5 * 0.5)  # half of three times the images tried
    assert one["test"] - two["test"] == pytest.approx(2.0 * 0.5)
    assert one["test"] - many["test"] == pytest.approx((4 - 1 / 3) * 0.5)  # at least one of the three tried
    assert one["steps"] == two["steps"] == many["steps"]
