"""Random levels of an image file."""

import torch
from torch import Tensor


def levels(channels: int, height: int = 9, width: int = 12, bits: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 2**bits, (channels, height, width), generator=generator, dtype=torch.int32)
    return values.to(torch.uint8 if bits == 8 else torch.uint16)
