"""One image on one core: whole, in tiles, in onnxruntime by our export, and networks of equal size.

    python -m experiments.performance.inference

Writes inference.csv: processor seconds, the minimum of two rounds in which all take turns.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.performance.peers import LAYOUTS, PEERS, fastest, write
from restore.config.inference import Inference
from restore.inference.exporters import Onnx
from restore.inference.load import open_restorer
from restore.models.loading import load_network

CASES = {"super_resolution_x2": (1000, 1000, (256, 512)), "deblur_narrow": (720, 1280, (512,))}  # height, width, tiles
ROUNDS = 2


def main() -> None:
    """Both networks of the package."""
    torch.set_num_threads(1)
    rows = []
    for name, (height, width, tiles) in CASES.items():
        lq = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
        ways = {"whole": restored(name, "none", lq)}
        ways |= {f"tile={tile}": restored(name, str(tile), lq) for tile in tiles}
        with tempfile.TemporaryDirectory(prefix="restore_study_") as folder:
            ways["onnxruntime"] = exported(name, Path(folder) / "network.onnx", lq)
        if name.startswith("super_resolution"):
            ways |= {f"{peer}, {layout}": forward(PEERS[peer](), layout, lq) for peer in PEERS for layout in LAYOUTS}
        rows += [[name, f"{width}x{height}", *each] for each in fastest(ways, ROUNDS).items()]
    write("inference.csv", ["network", "image", "way", "seconds"], rows)


def restored(name: str, tile: str, lq: Tensor) -> Callable[[], object]:
    """Our weights, whole or in tiles."""
    restorer = open_restorer(name, inference=Inference(device="cpu", tile=tile))
    return lambda: restorer.restore(lq)


def exported(name: str, path: Path, lq: Tensor) -> Callable[[], object]:
    """The same weights in onnxruntime."""
    import onnxruntime

    Onnx(18).write(path, load_network(name, "ema").eval(), {})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"lq": lq[None].numpy()})


def forward(network: nn.Module, layout: str, lq: Tensor) -> Callable[[], object]:
    """A peer, in a memory layout."""
    network = network.eval().to(memory_format=LAYOUTS[layout])
    image = lq[None].contiguous(memory_format=LAYOUTS[layout])

    def work() -> None:
        with torch.inference_mode():
            network(image)

    return work


if __name__ == "__main__":
    main()
