"""Which precision `trainer.precision=auto` is."""

import json
from pathlib import Path

import pytest
import torch

from restore.training import trainer as trainer_module
from tests.conftest import TINY, Cli

AUTO = (*TINY, "callbacks.panels=null", "trainer.precision=auto")


def recorded(folder: Path) -> list[str]:
    starts = json.loads((folder / "environment.json").read_text())["starts"]
    return [start["precision"] for start in starts]


@pytest.mark.skipif(torch.cuda.is_available(), reason="of CPUs")
def test_auto_is_what_this_processor_is_fast_in_and_a_resumed_run_keeps_it(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "outputs" / "super_resolution" / "a"
    monkeypatch.setattr(trainer_module, "bf16_speedup", lambda: 2.0)
    assert cli("fit", *AUTO, "run_id=a").status == 0
    monkeypatch.setattr(trainer_module, "bf16_speedup", lambda: 0.5)
    (folder / "result.json").unlink()
    assert cli("fit", *AUTO, "run_id=a").status == 0
    assert recorded(folder) == ["bf16-mixed", "bf16-mixed"]
    monkeypatch.setattr(trainer_module, "bf16_speedup", lambda: 1.1)  # not worth its rounding
    assert cli("fit", *AUTO, "run_id=b").status == 0
    assert recorded(folder.with_name("b")) == ["32-true"]
