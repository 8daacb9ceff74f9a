"""Makes a fixed benchmark of synthetic motion blur in four levels, from nearly sharp to strong.

    python -m experiments.deblur.benchmark data/motion_blur
    restore evaluate ckpt_path=deblur_narrow benchmarks=[data/motion_blur] protocol=deblur_rgb

The photos are the first 50 of BSDS500's test part ($RESTORE_DATA/bsds/images/test), which no weights here were trained
on. Each is blurred whole, in linear light, once per level, with random numbers of (seed, level, photo) alone; blurred
and sharp image are then cut to the middle. The layout is `<folder>/test/<level>/{blur,sharp}/<photo>.png`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from experiments.data_folder import data_folder
from restore.data.datasets import degrade
from restore.data.hr_lr_folders import find_pairs
from restore.degradations.motion_blur import MotionBlur
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage, to_float

LEVELS = {"none": (0, 1), "mild": (2, 6), "middle": (6, 12), "strong": (12, 20)}  # length of the path, px
SIDE, COUNT, SEED = 320, 50, 0


def main() -> None:
    """Write the pairs of all levels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write, outside the repository")
    parser.add_argument("--photos", help="folder of sharp photos, or photos_held_out; default: BSDS500's test part")
    given = parser.parse_args()
    torch.set_num_threads(1)
    make(given.folder, given.photos or str(data_folder() / "bsds/images/test"))


def make(folder: Path, photos: str, *, count: int = COUNT, side: int = SIDE) -> None:
    """Blur the first ``count`` photos, and keep ``side`` px of the middle, or as much as they have."""
    for number, pair in enumerate(track(find_pairs(photos, 1)[:count], "blur")):
        sharp = reading.read_rgb8(pair.gt)
        for level, (name, (low, high)) in enumerate(LEVELS.items()):
            random = np.random.default_rng([SEED, level, number])
            blurred, _ = degrade(sharp, 1, [MotionBlur(low=low, high=high)], random)
            for kind, image in {"blur": blurred, "sharp": to_float(sharp)}.items():
                file = folder / "test" / name / kind / f"{pair.name}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                writing.write(file, DecodedImage.of(middle(image, side)))


def middle(image: Tensor, side: int) -> Tensor:
    """The square in the middle, cut to what the image has."""
    height, width = (min(length, side) for length in image.shape[1:])
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]


if __name__ == "__main__":
    main()
