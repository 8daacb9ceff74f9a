"""Draws the networks of the four methods as boxes: docs/methods/<method>.png.

Sizes and counts are those of the built networks, run on the meta device; they are also written into the file itself,
where a test compares them with the networks.

    python docs/drawings.py [folder instead of docs/methods]
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor, nn

from restore.networks.attention_generator import AttentionGenerator
from restore.networks.attention_unet import AttentionModule, AttentionUNet
from restore.networks.information_gain import InformationGainNetwork, ResidualGroup
from restore.networks.multires_translation import MultiResTranslation
from restore.networks.zssr import ZSSRNetwork

HERE = Path(__file__).parent
CONF = HERE.parent / "conf" / "model"
ROUND = ("skip", "joined", "what is there")  # labels of arrows that go round what lies between
COLOURS = {"image": "#f2f2f2", "convolution": "#dbe8f6", "attention": "#fbe3c8", "size": "#dcefdc", "many": "#e9e0f2"}


class Box(NamedTuple):
    """One part of a drawing.

    Attributes:
        text: what stands in it. kind: its colour. x, y: its middle, in boxes. width: in boxes.
    """

    text: str
    kind: str
    x: float
    y: float
    width: float = 0.86


class Drawing(NamedTuple):
    """A network as boxes.

    Attributes:
        title: above it. arrows: pairs of numbers of boxes, and a label.
    """

    title: str
    boxes: list[Box]
    arrows: list[tuple[int, int, str]]


def settings(preset: str) -> dict[str, Any]:
    """The numbers of a file of conf/model, with those of the file it builds on."""
    content = yaml.safe_load((CONF / f"{preset}.yaml").read_text())
    own = {key: value for key, value in content.items() if key != "defaults"}
    below = next((name for name in content.get("defaults", []) if name != "_self_"), None)
    return own if below is None else settings(below) | own


def shapes(run: Callable[..., Any], parts: Sequence[nn.Module], *inputs: Any) -> list[str]:
    """Height x width x channels of what each part puts out, once the network has run."""
    seen: dict[nn.Module, str] = {}

    def note(module: nn.Module, _: Any, out: Tensor) -> None:
        seen[module] = "x".join(str(side) for side in (*out.shape[2:], out.shape[1]))

    hooks = [part.register_forward_hook(note) for part in parts]
    run(*inputs)
    for hook in hooks:
        hook.remove()
    return [seen[part] for part in parts]


def millions(network: nn.Module) -> str:
    """Number of parameters."""
    return f"{sum(each.numel() for each in network.parameters()) / 1e6:.3g} M parameters"


def conv(layer: nn.Module) -> str:
    """What a convolution is."""
    assert isinstance(layer, nn.Conv2d)
    stride = f" / {layer.stride[0]}" if layer.stride[0] > 1 else ""
    return f"conv {layer.kernel_size[0]}x{layer.kernel_size[1]}{stride}\n{layer.in_channels} → {layer.out_channels}"


def chain(count: int, start: int = 0) -> list[tuple[int, int, str]]:
    """Arrows from each box to the next."""
    return [(k, k + 1, "") for k in range(start, start + count - 1)]


def super_resolution() -> Drawing:
    """The published network at x2 above, one of its groups below."""
    names = ("scale", "groups", "blocks", "channels", "attention", "image_skip")
    given = settings("super_resolution_published")
    network = InformationGainNetwork(**{name: given[name] for name in names})
    group = network.groups[0]
    assert isinstance(group, ResidualGroup)
    assert isinstance(group.attention, AttentionGenerator)
    parts = [network.head, network.groups[-1], network.upsampler, network.tail]
    sizes = shapes(network, parts, torch.zeros(1, 3, 48, 48))
    stages = [layer for layer in group.attention.stages if isinstance(layer, nn.Conv2d)]
    squash = group.attention.squash
    above = [
        Box("small image\n48x48x3", "image", 0, 1),
        Box(f"{conv(network.head)}\n{sizes[0]}", "convolution", 1, 1),
        Box(f"{len(network.groups)} groups\n{sizes[1]}", "many", 2, 1),
        Box("+", "size", 2.75, 1, 0.25),
        Box(f"sub-pixel x{network.scale}\n{sizes[2]}", "size", 3.5, 1),
        Box(f"{conv(network.tail)}\n{sizes[3]}", "convolution", 4.5, 1),
    ]
    below = [
        Box("input of\nthe group", "image", 0, -0.4),
        Box(f"{len(group.blocks)} residual\nblocks", "many", 1, -0.4),
        Box("gain =\ndifference", "attention", 1, -1.4),
        Box(f"{conv(stages[0])}\nmax-pool\n{conv(stages[1])}", "attention", 2, -1.4),
        Box(f"means, linear\n{squash.in_features} → {squash.out_features}\nsigmoid", "attention", 3, -1.4),
        Box("x", "attention", 3, -0.4, 0.25),
        Box(conv(group.close), "convolution", 3.75, -0.4),
        Box("+", "size", 4.5, -0.4, 0.25),
    ]
    arrows = [*chain(len(above)), (1, 3, "skip")]
    one = len(above)
    arrows += [
        (one + a, one + b, label) for a, b, label in [(0, 1, ""), (0, 2, ""), (1, 2, ""), (2, 3, ""), (3, 4, "")]
    ]
    arrows += [(one + 4, one + 5, "a weight\na channel"), (one + 1, one + 5, ""), (one + 5, one + 6, "")]
    arrows += [(one + 6, one + 7, ""), (one, one + 7, "skip")]
    return Drawing(f"super_resolution_published, x{network.scale}: {millions(network)}", above + below, arrows)


def zero_shot() -> Drawing:
    """The network of one scale step."""
    given = settings("zero_shot")
    network = ZSSRNetwork(width=given["width"], depth=given["depth"], kernel_size=given["kernel_size"])
    layers = [layer for layer in network.layers if isinstance(layer, nn.Conv2d)]
    sizes = shapes(network, [layers[0], layers[-2], layers[-1]], torch.zeros(1, 3, 128, 128))
    hidden = len(layers) - 1
    boxes = [
        Box("image\n64x64x3", "image", 0, 0),
        Box("bicubic x2\n128x128x3", "size", 1, 0),
        Box(f"{conv(layers[0])}\n{sizes[0]}", "convolution", 2, 0),
        Box(f"{hidden - 1} more hidden\n{conv(layers[1])}\n{sizes[1]}", "many", 3, 0),
        Box(f"{conv(layers[-1])}\n{sizes[2]}", "convolution", 4, 0),
        Box("+", "size", 4.75, 0, 0.25),
        Box("enlarged\n128x128x3", "image", 5.5, 0),
    ]
    title = f"zero_shot: {hidden} hidden layers, {sum(each.numel() for each in network.parameters())} parameters"
    return Drawing(title, boxes, [*chain(len(boxes)), (1, 5, "what is there already")])


def deblur() -> Drawing:
    """Down on the left, up on the right, a row for each size."""
    given = settings("deblur_published")
    names = ("width", "modules", "attention", "global_residual")
    network = AttentionUNet(**{name: given[name] for name in names})
    parts = ["conv1", "a1", "conv2", "a2", "conv3", "a3", "a4", "conv4", "a5", "conv5", "a6", "conv6"]
    sizes = dict(
        zip(
            parts, shapes(network, [getattr(network, p) for p in parts[:-2]], torch.zeros(1, 3, 256, 256)), strict=False
        )
    )
    # a6's modules are called one by one, so its size is that of its last one
    sizes["a6"], sizes["conv6"] = shapes(network, [network.a6[-1], network.conv6], torch.zeros(1, 3, 256, 256))
    rows = {"conv1": 2, "a1": 2, "conv2": 1, "a2": 1, "conv3": 0, "a3": 0, "a4": 0}
    rows |= {"conv4": 1, "a5": 1, "conv5": 2, "a6": 2, "conv6": 2}
    columns = {"conv1": 0, "a1": 1, "conv2": 0.5, "a2": 1.5, "conv3": 1, "a3": 2, "a4": 3}
    columns |= {"conv4": 3.5, "a5": 4.5, "conv5": 4, "a6": 5, "conv6": 6}
    boxes = []
    for part in parts:
        module = getattr(network, part)
        if isinstance(module, nn.Conv2d):
            text, kind = conv(module), "convolution"
        else:
            assert isinstance(module[0], AttentionModule)
            inside = module[0].conv1
            text, kind = f"{len(module)} attention\n{inside.in_channels} → {inside.out_channels}", "attention"
        boxes.append(Box(f"{part}: {text}\n{sizes[part]}", kind, columns[part], 1.35 * rows[part]))
    at = {part: k for k, part in enumerate(parts)}
    arrows = [*chain(len(parts)), (at["a2"], at["a5"], "joined"), (at["a1"], at["a6"], "joined")]
    return Drawing(f"deblur_published: {millions(network)}, 256x256 px", boxes, arrows)


def translation() -> Drawing:
    """A row for each resolution; the trunk below the lowest."""
    given = settings("translation")
    network = MultiResTranslation(**{name: given[name] for name in ("levels", "width", "blocks", "in_channels")})
    side = 1024
    inputs = [torch.zeros(1, 3, side >> r, side >> r) for r in range(given["levels"])]
    levels: list[Any] = list(network.levels)
    parts = [part for level in levels for part in (level.settle, level.refine, level.head)]
    sizes = shapes(network.outputs, [*parts, network.trunk.blocks, network.trunk], inputs)
    lowest = len(levels) - 1
    boxes, arrows = [], []
    for r in range(len(levels)):
        encoded, decoded, image = sizes[3 * r : 3 * r + 3]
        y = 1.15 * (lowest - r)
        boxes += [
            Box(f"input {r}\n{side >> r}x{side >> r}x3", "image", 0, y),
            Box(f"input module {r}\n{encoded}", "convolution", 1.2, y),
            Box(f"decoder {r}\n{decoded}", "convolution", 3.6, y),
            Box(f"output {r}\n{image}", "image", 4.8, y),
        ]
        k = 4 * r
        arrows += [(k, k + 1, ""), (k + 1, k + 2, "concatenated"), (k + 2, k + 3, "")]
        if r < lowest:
            arrows += [(k + 1, k + 5, "fused"), (k + 6, k + 2, "x2")]
    trunk = len(boxes)
    boxes.append(Box(f"{len(network.trunk.blocks)} residual blocks\n{sizes[-2]}", "many", 2.4, -1.15, 1.1))
    arrows += [(trunk - 3, trunk, "1/2, 1/2"), (trunk, trunk - 2, "x2")]
    return Drawing(f"translation: {millions(network)}, {len(levels)} resolutions of {side}x{side} px", boxes, arrows)


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "super_resolution": super_resolution,
    "zero_shot": zero_shot,
    "deblur": deblur,
    "translation": translation,
}


def made(method: str) -> Drawing:
    """The drawing of a method; its network has shapes and no content, so drawing costs nothing."""
    with torch.device("meta"), torch.enable_grad():  # without gradients the end is computed in bands
        return DRAWINGS[method]()


def draw(drawing: Drawing, path: Path) -> None:
    """Write it as PNG, with all its texts inside."""
    boxes = drawing.boxes
    left, right = min(box.x - box.width / 2 for box in boxes), max(box.x + box.width / 2 for box in boxes)
    low, high = min(box.y for box in boxes) - 0.55, max(box.y for box in boxes) + 1.1
    figure = Figure(figsize=(1.5 * (right - left), 1.05 * (high - low)), dpi=90)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(left - 0.05, right + 0.05)
    axes.set_ylim(low, high)
    axes.axis("off")
    axes.text((left + right) / 2, high - 0.12, drawing.title, ha="center", va="center", fontsize=10, weight="bold")
    for box in boxes:
        _draw_box(axes, box)
    for start, end, label in drawing.arrows:
        _draw_arrow(axes, boxes[start], boxes[end], label)
    figure.savefig(path, metadata={"Software": None, "Description": texts(drawing)})


def texts(drawing: Drawing) -> str:
    """What is written in a drawing."""
    return json.dumps([drawing.title, *(box.text for box in drawing.boxes)])


def _height(box: Box) -> float:
    return 0.2 + 0.18 * (box.text.count("\n") + 1)


def _draw_box(axes: Any, box: Box) -> None:
    corner = box.x - box.width / 2, box.y - _height(box) / 2
    style = {"boxstyle": "round,pad=0,rounding_size=0.06", "facecolor": COLOURS[box.kind], "edgecolor": "#555555"}
    axes.add_patch(FancyBboxPatch(corner, box.width, _height(box), linewidth=0.8, **style))
    axes.text(box.x, box.y, box.text, ha="center", va="center", fontsize=7.5, linespacing=1.25)


def _draw_arrow(axes: Any, start: Box, end: Box, label: str) -> None:
    """From side to side, from top to bottom, or round what lies between."""
    across, up = end.x - start.x, end.y - start.y
    style = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 0.8, "shrinkA": 1, "shrinkB": 1}
    if label.startswith(ROUND):
        begin, finish = (start.x, start.y + _height(start) / 2), (end.x, end.y + _height(end) / 2)
        style["connectionstyle"] = f"arc3,rad={-0.4 / abs(across):.3f}"  # so that every one rises as high
    elif abs(up) < 0.1:
        begin, finish = (start.x + start.width / 2, start.y), (end.x - end.width / 2, end.y)
    else:
        sign = 1 if up > 0 else -1
        begin, finish = (start.x, start.y + sign * _height(start) / 2), (end.x, end.y - sign * _height(end) / 2)
    axes.annotate("", finish, begin, arrowprops=style)
    x, y = (begin[0] + finish[0]) / 2, (begin[1] + finish[1]) / 2
    if abs(up) < 0.1:
        y += 0.4 if label.startswith(ROUND) else 0.1
        axes.text(x, y, label, ha="center", va="center", fontsize=7)
    else:
        axes.text(x + 0.08, y, label, ha="left", va="center", fontsize=7)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else HERE / "methods"
    for method in DRAWINGS:
        draw(made(method), folder / f"{method}.png")
