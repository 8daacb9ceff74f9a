from types import SimpleNamespace

import pytest

from restore.profiling import speed
from tests.conftest import TINY, Cli


def test_a_forecast_stands_beside_the_time_that_the_training_takes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_this_process(module: str, *words: str) -> None:
        outcome = cli(module.removeprefix("restore."), *TINY, *words)
        assert outcome.status == 0, outcome.err

    monkeypatch.setattr(speed, "run", in_this_process)
    lines = dict(speed.forecast(SimpleNamespace(steps=4, model_overrides=[])))  # type: ignore[arg-type]
    assert list(lines) == ["training of 4 steps, forecast", "training of 4 steps, actual"]
    assert "forecast / actual" in lines["training of 4 steps, actual"]
