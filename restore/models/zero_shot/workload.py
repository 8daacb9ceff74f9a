"""The inputs of a plan for zero-shot super-resolution: the remaining work in pixels, and the machine's speed."""

import copy
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from restore.data.single_image import SingleImageData
from restore.losses import pixel
from restore.models.zero_shot.network import ZeroShotNetwork
from restore.models.zero_shot.plan import Speed, Work
from restore.models.zero_shot.step_networks import StepNetwork
from restore.ops.resize import new_length, resize

TIMED = 2  # timed runs of each kind, after one for warm-up


def work_left(
    network: ZeroShotNetwork,
    data: SingleImageData,
    k: int,
    check: int,
    tile: Callable[[tuple[int, int]], int | None],
    *,
    least_steps: int,
    most_steps: int,
    views: int,
) -> Work:
    """The work of scale step ``k`` and all later ones.

    Args:
        check: pixels on which the reconstruction error is measured.
        tile: called with (height, width) of an enlarged image; returns the side of its tiles, or None for the whole.
        least_steps, most_steps: per scale step. views: maximum.
    """
    sides = [min(data.image.shape[1:]), *(min(data.middle(total).shape[1:]) * total for total in _totals(network))]
    largest = sides[k : len(network.factors)]  # father of each step
    pixels = _pixels_to_enlarge(network, data, k)
    return Work(
        crops=tuple(data.batch_size * min(data.patch_size, int(side)) ** 2 for side in largest),
        check=check,
        view=pixels * _with_halos(network, data, tile),
        enlarged=pixels,
        least_steps=least_steps,
        most_steps=most_steps,
        most_views=views,
        most_rounds=network.rounds,
    )


def _pixels_to_enlarge(network: ZeroShotNetwork, data: SingleImageData, k: int) -> float:
    """Pixels of all remaining enlargements; each starts with the image and goes through all its scale steps."""
    totals = _totals(network)
    squares = [total**2 for total in totals]
    pixels = data.enlarged[0].numel() * sum(squares)
    for j in range(k, len(totals) - 1):
        pixels += data.middle(totals[j])[0].numel() * sum(squares[: j + 1])
    return float(pixels)


def _totals(network: ZeroShotNetwork) -> list[float]:
    """Side after each scale step / side of the image."""
    return [math.prod(network.factors[: j + 1]) for j in range(len(network.factors))]


def _with_halos(
    network: ZeroShotNetwork, data: SingleImageData, tile: Callable[[tuple[int, int]], int | None]
) -> float:
    """Ratio of the pixels that a network processes for a tile of the result to the tile's own pixels."""
    height, width = (new_length(length, network.scale) for length in data.enlarged.shape[1:])
    side = tile((height, width))
    return 1.0 if side is None else ((side + 2 * network.context) / side) ** 2


def measured_speed(network: ZeroShotNetwork, data: SingleImageData, given: Tensor) -> Speed:
    """The machine's present speed, on a part of the image; networks and random generators stay unchanged.

    Args:
        given: the network's input for the image's son, float (1, 3, H, W), on the network's device.
    """
    factor, zoom = network.factors[0], network.zoom
    side, size = max(1, data.patch_size // zoom), (zoom * given.shape[-2], zoom * given.shape[-1])
    crops = given[..., :side, :side].expand(data.batch_size, -1, -1, -1)
    crops = crops.contiguous(memory_format=torch.channels_last)
    targets = resize(crops, zoom) if zoom > 1 else crops
    enlarged = resize(given, zoom) if zoom > 1 else given
    of_crops = data.batch_size * targets[0, 0].numel()
    tried = copy.deepcopy(network.steps[0])

    def forward() -> None:
        with torch.no_grad():
            tried(crops)

    def back_project() -> None:
        resize(network.shrink(enlarged, factor), factor, size=size)

    return Speed(
        step=_seconds(_training_step(tried, crops, targets), enlarged.device) / of_crops,
        forward=_seconds(forward, enlarged.device) / of_crops,
        round=_seconds(back_project, enlarged.device) / enlarged[0, 0].numel(),
    )


def _training_step(network: StepNetwork, crops: Tensor, targets: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> None:
        loss = pixel.l1(network(crops), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    work()
    started = _clock(device)
    for _ in range(TIMED):
        work()
    return max((_clock(device) - started) / TIMED, 1e-9)


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()
