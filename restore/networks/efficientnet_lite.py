"""Feature maps of EfficientNet-Lite0 (Tan and Le, ICML 2019; Lite: ReLU6, no squeeze-and-excitation)."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# repeats, kernel, stride of the first, expansion, inputs, outputs: table 1 of the paper, after the stem's 32 features
_STAGES = (
    *((1, 3, 1, 1, 32, 16), (2, 3, 2, 6, 16, 24), (2, 5, 2, 6, 24, 40), (3, 3, 2, 6, 40, 80)),
    *((3, 5, 1, 6, 80, 112),),  # deeper stages are not used by the style loss
)
_AFTER = {"stage1": 0, "stage2": 2, "stage3": 4, "stage5": 10}  # the last block at a resolution
HALVINGS = {"stage1": 1, "stage2": 2, "stage3": 3, "stage5": 4}
_EPSILON = 1e-3  # of batch normalisation


class EfficientNetLiteFeatures(nn.Module):
    """Maps of EfficientNet-Lite0 at four depths: stage1 (/2), stage2 (/4), stage3 (/8), stage5 (/16). Frozen."""

    halvings: Mapping[str, int] = HALVINGS
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, 32, 3, stride=2, bias=False)
        self.bn0 = nn.BatchNorm2d(32, eps=_EPSILON)
        blocks: list[nn.Module] = []
        for repeats, kernel, stride, expansion, inputs, outputs in _STAGES:
            blocks.append(_Block(inputs, outputs, kernel, stride, expansion))
            blocks += [_Block(outputs, outputs, kernel, 1, expansion) for _ in range(repeats - 1)]
        self.blocks = nn.ModuleList(blocks)
        self.register_buffer("mean", torch.tensor(127 / 255), persistent=False)
        self.register_buffer("std", torch.tensor(128 / 255), persistent=False)
        self.requires_grad_(False)

    def forward(self, image: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """(N, 3, H, W) in [0, 1] -> the maps of ``layers``, from shallow to deep; deeper ones are not computed."""
        wanted = [_AFTER[name] for name in layers]
        x = F.relu6(self.bn0(self.conv_stem(_same((image - self.mean) / self.std, 3, 2))))
        found = []
        for index, block in enumerate(self.blocks[: max(wanted) + 1]):
            x = block(x)
            if index in wanted:
                found.append(x)
        return found


class _Block(nn.Module):
    """Inverted residual: 1x1 expansion, depthwise convolution, 1x1 projection, each normalised."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.kernel, self.stride, self.is_residual = kernel, stride, stride == 1 and inputs == outputs
        if expansion > 1:
            self.expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(inner, eps=_EPSILON)
        self.depthwise_conv = nn.Conv2d(inner, inner, kernel, stride=stride, groups=inner, bias=False)
        self.bn1 = nn.BatchNorm2d(inner, eps=_EPSILON)
        self.project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu6(self.bn0(self.expand_conv(x))) if hasattr(self, "expand_conv") else x
        inner = F.relu6(self.bn1(self.depthwise_conv(_same(inner, self.kernel, self.stride))))
        projected: Tensor = self.bn2(self.project_conv(inner))
        return x + projected if self.is_residual else projected


def _same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Padding like TensorFlow's `same`: the smaller half at the left and top."""
    missing = [max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in x.shape[-2:]]
    (top, below), (left, right) = ((each // 2, each - each // 2) for each in missing)
    return F.pad(x, (left, right, top, below))
