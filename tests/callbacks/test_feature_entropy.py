import csv
import math
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from restore.callbacks.feature_entropy import entropy
from tests.conftest import TINY, Cli


def test_entropy_agrees_with_scipy_and_has_its_bounds() -> None:
    maps = torch.randn(1, 3, 20, 30)
    expected = np.mean([stats.entropy(np.histogram(c.numpy(), 16)[0], base=2) for c in maps[0]])
    assert math.isclose(entropy(maps, 16).item(), expected, abs_tol=0.02)  # a value on a bin's edge may fall either way
    assert entropy(torch.zeros(1, 2, 5, 5), 16) == 0
    even = torch.arange(16.0).repeat(4).view(1, 1, 8, 8)
    assert math.isclose(entropy(even, 16).item(), 4, abs_tol=1e-6)


def test_it_is_logged_per_group_on_request(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("fit", *TINY, "callbacks=entropy", "callbacks.panels=null", "run_id=a")
    assert outcome.status == 0, outcome.err
    with (tmp_path / "outputs" / "super_resolution" / "a" / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert all(0 < float(last[f"entropy/{k}"]) < 8 for k in range(3))
