"""What tiles cost, with attention over the whole image and with attention pooled around each position.

    python -m experiments.super_resolution.tiles super_resolution_x2 [--window 48] [--tile 64]

Prints a table on Set14 and on one large photo that was not trained on, a sharp GoPro frame of 1280x720: PSNR-Y, and the
largest deviation from the same network run whole, in 8-bit levels.
"""

import argparse
from collections.abc import Iterator
from statistics import mean

import torch
from torch import Tensor

from experiments.data_folder import data_folder
from restore.config.inference import Inference
from restore.data.datasets import WholeImages
from restore.data.hr_lr_folders import find_pairs
from restore.image import reading
from restore.inference.load import open_restorer
from restore.inference.restorer import Restorer
from restore.io.tables import markdown_rows
from restore.metrics.protocols import protocol
from restore.ops.resize import resize_8bit

LARGE = "gopro/test/GOPR0372_07_00/sharp"  # its first frame


def main() -> None:
    """Score every way on every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ckpt_path")
    parser.add_argument("--window", type=int, default=48, help="lq pixels, the side of a training crop")
    parser.add_argument("--tile", type=int, default=64, help="lq pixels")
    given = parser.parse_args()
    pooled = {"pool_window": given.window}
    settings = {
        "whole": Inference(tile="none"),
        "tiles": Inference(tile=given.tile),
        "whole, local pooling": Inference(tile="none", **pooled),
        "tiles, local pooling": Inference(tile=given.tile, **pooled),
    }
    restorers = {way: open_restorer(given.ckpt_path, inference=each) for way, each in settings.items()}
    scale = int(restorers["whole"].scale)
    rows = [[f"tiles of {given.tile} px, windows of {given.window} px", "images", "psnr_y", "largest deviation"]]
    for name, images in {"Set14": list(benchmark("Set14", scale)), "large photo": [large(scale)]}.items():
        for way, restorer in restorers.items():
            whole = restorers[way.replace("tiles", "whole")]
            scores, deviations = zip(*(measure(restorer, whole, lq, gt) for lq, gt in images), strict=True)
            rows.append([way, name, f"{mean(scores):.3f}", f"{max(deviations):.3f}"])
    print(markdown_rows(rows))


def measure(restorer: Restorer, whole: Restorer, lq: Tensor, gt: Tensor) -> tuple[float, float]:
    """PSNR-Y, and the largest difference to the whole image in levels."""
    pred = restorer.restore(lq)
    deviation = 0.0 if restorer is whole else 255 * float((pred - whole.restore(lq)).abs().max())
    return protocol("sr_y").score(pred, gt, scale=restorer.scale)["psnr_y"], deviation


def benchmark(name: str, scale: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(lq, gt) of a benchmark."""
    images = WholeImages(find_pairs(str(data_folder() / "benchmarks" / name), scale), scale=scale)
    for k in range(len(images)):
        yield images[k]["lq"], images[k]["gt"]


def large(scale: int) -> tuple[Tensor, Tensor]:
    """(lq, gt) of the large photo."""
    pixels = reading.read_rgb8(min((data_folder() / LARGE).iterdir()))
    height, width = (side // scale * scale for side in pixels.shape[1:])
    pixels = pixels[:, :height, :width]
    return resize_8bit(pixels, 1 / scale) / 255, (pixels / 255).to(torch.float32)


if __name__ == "__main__":
    main()
