"""Which times ``trainer.max_time`` takes."""

import time
from typing import Any

import pytest

from restore.io.errors import SettingError
from restore.training import max_time


@pytest.mark.parametrize(("given", "seconds"), [("00:50:00", 3000), ("1:02:03", 3723), (5400, 5400), (None, None)])
def test_a_time_in_seconds(given: Any, seconds: int | None) -> None:
    assert max_time.max_seconds(given) == seconds


@pytest.mark.parametrize("given", ["abc", "00:00:00", 0, -3, "50:00", "00:61:00", 1.5, True])
def test_what_is_no_time_is_refused(given: Any) -> None:
    with pytest.raises(SettingError) as error:
        max_time.max_seconds(given)
    assert error.value.key == "trainer.max_time"


def test_steps_are_chosen_or_given() -> None:
    max_time.refuse_both(None, ["trainer.max_steps=4"])
    max_time.refuse_both("00:01:00", ["trainer.max_time=00:01:00", "+trainer.max_steps=null"])
    with pytest.raises(SettingError) as error:
        max_time.refuse_both("00:01:00", ["seed=1", "trainer.max_steps=4"])
    assert error.value.key == "trainer.max_steps"


def test_the_slot_begins_with_the_run() -> None:
    slot = max_time.time_slot("00:10:00", time.time() - 540)
    assert slot is not None
    assert 0 < slot.left <= 60
    assert max_time.process_started() <= time.time()
