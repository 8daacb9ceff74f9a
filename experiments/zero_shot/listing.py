"""The baseline: zero-shot super-resolution as in an article's code listing, reimplemented from a description.

It is not ours and not the paper's method. Fathers are not smaller: level k + 1 is level k shrunk with antialiased
bilinear interpolation and enlarged back, and there are as many pairs of levels as zoom steps, so at x2 in one zoom step
there is one. The blurriest levels are drawn most often. The learning rate is checked every `lr_decay_range` steps:
slope and intercept come from a line through the losses of single crops with the axes swapped, and are then applied to
the steps, so the deviation from that line is many times the slope, the learning rate falls by ten at every check, and
the training ends with the fourth, at step 1024. One network serves all zoom steps. Tiles do not overlap. Values are
truncated to 8 bit. Its settings are the article's.
"""

import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.data.sampling import flip_and_turn
from restore.networks.zssr import ZSSRNetwork

CROP, TILE = 128, 128
LR, LR_STOP, LR_DECAY, RATIO, RANGE = 1e-3, 1e-6, 0.1, 1.5, 256


def bilinear(image: Tensor, factor: float, size: tuple[int, int] | None = None) -> Tensor:
    """(3, H, W), antialiased when shrinking."""
    size = size or (round(image.shape[1] * factor), round(image.shape[2] * factor))
    return F.interpolate(image[None], size=size, mode="bilinear", antialias=factor < 1)[0]


def levels(lq: Tensor, factor: float, times: int) -> list[Tensor]:
    """The image, and `times` increasingly blurred copies of the same size."""
    made = [lq]
    for _ in range(times):
        size = (made[-1].shape[1], made[-1].shape[2])
        made.append(bilinear(bilinear(made[-1], 1 / factor), factor, size))
    return made


def training(
    lq: Tensor, factor: float, times: int, max_steps: int, seed: int
) -> Iterator[tuple[ZSSRNetwork, int, float]]:
    """Trains for `times` zoom steps; yields the network, the step and the processor seconds so far."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = ZSSRNetwork()
    optimizer = torch.optim.Adam(network.parameters(), LR)
    pyramid = levels(lq, factor, times)
    weights = np.array([factor ** (2 * k) for k in range(times)])
    lr, losses, seconds = LR, list[float](), 0.0
    for step in range(1, max_steps + 1):
        started = time.process_time()
        k = int(random.choice(times, p=weights / weights.sum()))
        side = min(CROP, *lq.shape[1:])
        top, left = (int(random.integers(length - side + 1)) for length in lq.shape[1:])
        code = int(random.integers(8))
        gt, son = (
            flip_and_turn(level[:, top : top + side, left : left + side], code)[None]
            for level in (pyramid[k], pyramid[k + 1])
        )
        loss = (network(son) - gt).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
        if step % RANGE == 0:
            lr = lowered(lr, losses[-RANGE:])
            optimizer.param_groups[0]["lr"] = lr
        seconds += time.process_time() - started
        yield network, step, seconds
        if lr < LR_STOP:  # the third drop leaves it a rounding above
            return


def lowered(lr: float, losses: list[float]) -> float:
    """The listing's policy: the line of swapped axes is compared with the losses as if it were not swapped."""
    steps = np.arange(len(losses))
    slope, start = np.polyfit(losses, steps, 1)
    deviation = np.std(np.asarray(losses) - (slope * steps + start))  # mostly the steps' own deviation times the slope
    return lr * LR_DECAY if deviation > -RATIO * slope else lr


def enlarge(network: ZSSRNetwork, lq: Tensor, factor: float, times: int) -> Tensor:
    """(3, H, W) -> (3, round(factor H), ...) `times` over, tile by tile without overlap."""
    image = lq
    with torch.inference_mode():
        for _ in range(times):
            image = tiles(network, bilinear(image, factor))
    return image


def tiles(network: ZSSRNetwork, image: Tensor) -> Tensor:
    """Reflect-padded to whole tiles; truncated, not rounded."""
    height, width = image.shape[1:]
    padded = F.pad(image[None], (0, -width % TILE, 0, -height % TILE), mode="reflect")
    for top in range(0, padded.shape[2], TILE):
        for left in range(0, padded.shape[3], TILE):
            part = padded[..., top : top + TILE, left : left + TILE]
            padded[..., top : top + TILE, left : left + TILE] = network(part)
    return padded[0, :, :height, :width].clamp(0, 1).mul(255).floor().div(255)
