import pytest
import torch
from torch import nn

from restore.ops import row_bands
from restore.ops.row_bands import TRIALS, TRIED, Trials


@pytest.mark.parametrize("kernel", [3, 5])
def test_rows_of_convolutions_are_those_of_the_whole_map(kernel: int) -> None:
    torch.manual_seed(0)
    first, second = (nn.Conv2d(4, 4, kernel, padding=kernel // 2).double() for _ in range(2))
    x = torch.randn(1, 4, 11, 6, dtype=torch.float64)
    once, twice = first(x), second(first(x).relu())
    for top, bottom in [(0, 11), (0, 1), (1, 4), (4, 9), (9, 11), (10, 11)]:
        rows = slice(top, bottom)
        assert torch.allclose(row_bands.convolved(first, x, top, bottom), once[..., rows, :], atol=1e-12)
        assert torch.allclose(row_bands.convolved_twice(first, second, x, top, bottom), twice[..., rows, :], atol=1e-12)


def test_every_size_is_tried_and_the_fastest_kept() -> None:
    trials, fastest = Trials(), TRIED[1]
    for _ in range(TRIALS * len(TRIED)):
        size = trials.size(TRIED[-1])
        trials.add(size, 1.0 if size == fastest else 2.0)
    assert trials.size(TRIED[-1]) == fastest
    trials.add(fastest, 9.0)  # changes nothing any more
    assert trials.size(TRIED[-1]) == fastest
    assert trials.size(TRIED[0]) == trials.size(1) == TRIED[0]


def test_bands_cover_a_map_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_bands, "LEAST_ROWS", 2)
    x = torch.zeros(1, 4, 2**16 // 16 * 37, 16)  # 37 bands of the least size tried, or fewer
    found = list(row_bands.bands(x, "of the test"))
    assert [top for top, _ in found] == [0, *(bottom for _, bottom in found[:-1])]
    assert found[-1][1] == x.shape[-2]
    assert len(found) > 1
    assert all(top % 2 == 0 for top, _ in found)


def test_small_maps_batches_and_maps_with_gradients_are_computed_at_once() -> None:
    large = torch.empty(1, 4, 1024, 1024).contiguous(memory_format=torch.channels_last)
    assert not row_bands.pays_for(large)
    with torch.no_grad():
        assert row_bands.pays_for(large)
        assert not row_bands.pays_for(large[..., :8, :])
        assert not row_bands.pays_for(large.contiguous())
        assert not row_bands.pays_for(torch.cat([large, large]))
