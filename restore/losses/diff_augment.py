"""Augmentation of the discriminator's inputs, against overfitting to a small training set.

Zhao, Liu, Lin, Zhu, Han, "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020. Real and
generated images are augmented alike, and gradients reach the generator. Random numbers come from torch's global
generator, which a run seeds at every step.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from restore.distributed import collectives

Policy = Literal["color", "translation", "cutout"]
POLICIES = get_args(Policy)


def diff_augment(condition: Tensor, image: Tensor, policies: Sequence[Policy]) -> tuple[Tensor, Tensor]:
    """Augment each image of a batch at random; geometric changes also apply to the condition.

    Args:
        condition: (N, C, H, W) in [0, 1]. image: (N, 3, H, W) in [0, 1].
        policies: ``color`` (brightness, saturation, contrast; only of the image), ``translation`` (by at most 1/8 of a
            side, filled with grey), ``cutout`` (a grey rectangle with half the sides).

    Returns:
        Both, of the same shapes; colours may leave [0, 1].
    """
    if "color" in policies:
        image = _color(image)
    both = torch.cat([condition, image], 1)
    if "translation" in policies:
        both = _translated(both)
    if "cutout" in policies:
        both = _cut(both)
    return both[:, : condition.shape[1]], both[:, condition.shape[1] :]


def _drawn(x: Tensor) -> Tensor:
    """One number in [0, 1) per image: (N, 1, 1, 1); independent of the number of processes that share a batch."""
    numbers = torch.rand(len(x) * collectives.world_size(), 1, 1, 1, device=x.device, dtype=x.dtype)
    return collectives.share_of_batch(numbers)


def _color(x: Tensor) -> Tensor:
    x = x + (_drawn(x) - 0.5) / 2  # by up to 1/4 of the range, as in the paper, whose range is 2
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (2 * _drawn(x))
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (0.5 + _drawn(x))


def _places(x: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column indices: (1, 1, H, 1) and (1, 1, 1, W)."""
    height, width = x.shape[-2:]
    return torch.arange(height, device=x.device).view(1, 1, -1, 1), torch.arange(width, device=x.device).view(
        1, 1, 1, -1
    )


def _shift(x: Tensor, length: int) -> Tensor:
    most = length // 8
    return (_drawn(x) * (2 * most + 1)).floor().long() - most


def _translated(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    rows, columns = _places(x)
    rows, columns = rows + _shift(x, height), columns + _shift(x, width)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    moved = x.flatten(2).gather(2, index.flatten(2).expand(-1, x.shape[1], -1)).view_as(x)
    return torch.where(inside, moved, x.new_full((), 0.5))


def _cut(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    rows, columns = _places(x)
    top, left = (_drawn(x) * (height + 1)).floor() - height // 4, (_drawn(x) * (width + 1)).floor() - width // 4
    hidden = (rows >= top) & (rows < top + height // 2) & (columns >= left) & (columns < left + width // 2)
    return torch.where(hidden, x.new_full((), 0.5), x)
