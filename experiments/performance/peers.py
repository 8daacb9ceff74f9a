"""Common to the comparisons of this study: networks of about equal size, and how they are timed."""

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from spandrel.architectures.RCAN import RCAN
from torch import Tensor, nn

from restore.networks.information_gain import InformationGainNetwork, ResidualBlock, Upsampler

HERE = Path(__file__).parent
GROUPS, BLOCKS, CHANNELS, SCALE = 4, 4, 32, 2
EDSR_BLOCKS = 19  # chosen for the same size as the others


class EDSR(nn.Module):
    """conv - residual blocks - conv, plus the first's output - sub-pixel upsampling - conv (Lim et al., CVPRW 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, CHANNELS, 3, padding=1)
        blocks = [ResidualBlock(CHANNELS) for _ in range(EDSR_BLOCKS)]
        self.body = nn.Sequential(*blocks, nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1))
        self.tail = nn.Sequential(Upsampler(SCALE, CHANNELS), nn.Conv2d(CHANNELS, 3, 3, padding=1))

    def forward(self, lq: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, scale H, scale W)."""
        shallow = self.head(lq)
        pred: Tensor = self.tail(self.body(shallow) + shallow)
        return pred


def ours() -> nn.Module:
    """The default network of super-resolution x2."""
    return InformationGainNetwork(scale=SCALE, groups=GROUPS, blocks=BLOCKS, channels=CHANNELS, image_skip="bicubic")


def rcan() -> nn.Module:
    """RCAN, as implemented in spandrel."""
    size = {"n_resgroups": GROUPS, "n_resblocks": BLOCKS, "n_feats": CHANNELS}
    network: nn.Module = RCAN(scale=SCALE, rgb_range=1, **size)
    return network


PEERS: dict[str, Callable[[], nn.Module]] = {"RCAN": rcan, "EDSR": EDSR}
LAYOUTS = {"default layout": torch.contiguous_format, "channels_last": torch.channels_last}


def fastest(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Minimum processor seconds of this process for each way, over rounds in which all take turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            started = time.process_time()
            work()
            found[name].append(time.process_time() - started)
    return {name: min(seconds) for name, seconds in found.items()}


def processor() -> str:
    """Name of the processor, and the instruction set that PyTorch uses on it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def write(name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV file of the study, with the processor in its last column, and print it."""
    with (HERE / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        lines: list[list[object]] = [[*columns, "processor"], *([*row, processor()] for row in rows)]
        writer.writerows(lines)
    for line in lines:
        print(*line, sep=", ")
