"""The table of `make gpu`, as far as a CPU can make it."""

import sys

import pytest
import torch

from experiments.performance import gpu


def test_a_step_is_measured_beside_rcan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "RUNS", 1)
    rows = gpu.measured(gpu.Case("super_resolution_tiny", 1, 16, 1, "photos"), "cpu", compiled=False, side=16)
    assert [what.split(", ")[-1] for what, _ in rows] == ["channels_last", "share of the matrix peak", "float32"]
    assert "ours / RCAN" in rows[-1][1]


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit) as end:
        gpu.main()
    assert "no GPU" in str(end.value.code)


def test_what_failed_and_what_took_too_long_stands_in_the_table() -> None:
    assert gpu._run([sys.executable, "-c", ""], 60) is None
    assert gpu._run([sys.executable, "-c", "raise SystemExit('no')"], 60) == "failed: no"
    assert "not finished" in str(gpu._run([sys.executable, "-c", "while True: pass"], 0))
