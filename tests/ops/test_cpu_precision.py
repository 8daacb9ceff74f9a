import pytest
import torch

from restore.ops import cpu_precision


def test_a_speedup_is_measured_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_precision.bf16_speedup.cache_clear()
    monkeypatch.setattr(cpu_precision, "REPEATS", 1)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    with torch.inference_mode():  # as where a network is run
        assert cpu_precision.bf16_speedup() > 0
    assert torch.equal(torch.random.get_rng_state(), before)
    cpu_precision.bf16_speedup.cache_clear()


@pytest.mark.parametrize(("speedup", "words"), [(0.5, "takes 2.0 times as long as float32"), (1.5, None)])
def test_bfloat16_by_name_is_warned_of_where_it_is_slower(
    monkeypatch: pytest.MonkeyPatch, speedup: float, words: str | None
) -> None:
    monkeypatch.setattr(cpu_precision, "bf16_speedup", lambda: speedup)
    found = cpu_precision.slowdown_warning("precision", "bf16", "auto")
    assert (words is None) == (found is None)
    assert words is None or words in str(found)
