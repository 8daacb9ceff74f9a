import resource
import sys

import pytest
import torch

from restore.io.allocator import kept_memory

ROUNDS, BYTES = 8, 64 * 2**20


def faults() -> int:
    """Page faults of taking and filling a large block several times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        torch.zeros(BYTES // 4).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_a_large_block_is_asked_for_once_inside_and_anew_each_time_outside() -> None:
    with kept_memory():
        inside = faults()
    outside = faults()
    assert inside < outside / 2
