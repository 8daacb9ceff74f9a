"""The convolutions of VGG19 (Simonyan and Zisserman, ICLR 2015) that style losses use."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# layer index in torchvision's ``features`` -> (inputs, outputs); the names of its weights remain valid
_CONVS = {
    **{0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)},
    **{16: (256, 256), 19: (256, 512), 21: (512, 512), 23: (512, 512), 25: (512, 512), 28: (512, 512), 30: (512, 512)},
}
_POOLED_BEFORE = (5, 10, 19, 28)
LAYERS = {"relu2_2": 7, "relu3_4": 16, "relu4_4": 25, "relu5_2": 30}
HALVINGS = {"relu2_2": 1, "relu3_4": 2, "relu4_4": 3, "relu5_2": 4}


class VGG19Features(nn.Module):
    """Maps of VGG19 at four depths: relu2_2, relu3_4, relu4_4, relu5_2. Frozen; weights are set after construction."""

    halvings: Mapping[str, int] = HALVINGS
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict({str(k): nn.Conv2d(*sizes, 3, padding=1) for k, sizes in _CONVS.items()})
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def draw(self, seed: int) -> None:
        """Draw random weights (He et al., ICCV 2015, eq. 10), identical for the same seed on every machine."""
        generator = torch.Generator().manual_seed(seed)
        for conv in self.features.values():
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(conv.bias)

    def forward(self, image: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """(N, 3, H, W) in [0, 1] -> the maps of ``layers``, from shallow to deep; deeper ones are not computed."""
        x, wanted, found = (image - self.mean) / self.std, [LAYERS[name] for name in layers], []
        for index in _CONVS:
            if index > max(wanted):
                break
            if index in _POOLED_BEFORE:
                x = F.max_pool2d(x, 2)
            x = F.relu(self.features[str(index)](x))
            if index in wanted:
                found.append(x)
        return found
