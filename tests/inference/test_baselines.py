import pytest
import torch

from restore.inference.load import open_restorer
from restore.ops.resize import resize, resize_8bit
from tests.inference.levels import levels


@pytest.mark.parametrize("scale", [1, 2, 3, 8])
def test_bicubic_of_8_bit_levels_is_the_benchmarks(scale: int) -> None:
    pixels = levels(3)
    opened = open_restorer("bicubic", scale=scale)
    assert (opened.name, opened.scale, opened.protocol) == ("bicubic", scale, "sr_y")
    assert torch.equal(opened.restore(pixels / 255) * 255, resize_8bit(pixels, scale).float())


def test_bicubic_of_finer_levels_is_not_rounded() -> None:
    image = torch.rand(3, 9, 12)
    assert torch.equal(open_restorer("bicubic", scale=2).restore(image), resize(image, 2))
    step = torch.zeros(3, 8, 8) + 0.3001
    step[:, :, 4:] = 0.8002
    assert open_restorer("bicubic", scale=4).restore(step).max() > 0.81  # overshoot is kept


def test_identity_returns_its_input() -> None:
    image = torch.rand(3, 5, 7)
    opened = open_restorer("identity")
    assert opened.scale == 1
    assert torch.equal(opened.restore(image), image)
    assert open_restorer("identity", scale=1).name == "identity"
