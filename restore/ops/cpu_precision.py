"""Whether bfloat16 is faster on this CPU: some compute it in hardware, most convert to float32 and back."""

import time
from functools import cache

import torch
from torch import nn

WORTH = 1.2  # minimum speed-up; below that its rounding is not worth it
REPEATS = 5


@cache
def bf16_speedup() -> float:
    """Speed-up of bfloat16 over float32 for a few convolutions, forward and backward, on the CPU.

    Measured once per process, with its threads, in a fraction of a second, as the fastest of several repetitions.
    """
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        layers = [layer for _ in range(3) for layer in (nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())]
        network = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        images = torch.rand(4, 32, 32, 32).to(memory_format=torch.channels_last)
        return _seconds(network, images, use_bf16=False) / _seconds(network, images, use_bf16=True)


def _seconds(network: nn.Module, images: torch.Tensor, *, use_bf16: bool) -> float:
    fastest = float("inf")
    for _ in range(REPEATS):
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=use_bf16):
            output = network(images)
        output.float().abs().mean().backward()
        fastest = min(fastest, time.perf_counter() - begin)
    return fastest


def slowdown_warning(setting: str, value: str, better: str) -> str | None:
    """A sentence for users who set bfloat16 explicitly where float32 is faster; None where it is not.

    Args:
        setting: its key. value: the user's value. better: the value to set instead.
    """
    speedup = bf16_speedup()
    if speedup >= 1:
        return None
    return f"{setting} is {value}, which takes {1 / speedup:.1f} times as long as float32 here; set {setting}={better}"
