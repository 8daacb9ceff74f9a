"""Downscales photos until they are sharp at pixel level, for the sharp images of deblurring's training pairs.

    python -m experiments.deblur.crisp_photos data/crisp $RESTORE_DATA/kodak24 $RESTORE_DATA/photos_cc photos_train

Photos of many megapixels are soft at pixel level: softer than a small photo after a blur of a few pixels. A network
trained to leave them unchanged also leaves mildly blurred photos unchanged. Sharpness is the ratio of the differences
between neighbours to those between next neighbours, both root mean square of the grey image: 0.5 where the image varies
slowly, 1 for white noise. Each photo is written at the largest factor that reaches 0.66, and at half of that factor.
"""

import argparse
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor

from restore.data.hr_lr_folders import find_pairs
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage, to_float
from restore.ops.resize import resize

FACTORS = (1.0, 0.75, 0.6, 0.5, 0.4, 0.33, 0.25)
SHARP, LEAST = 0.66, 128  # ratio; shortest side of what is written, px


def main() -> None:
    """Write the photos of all folders into one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write, outside the repository")
    parser.add_argument("photos", nargs="+", help="folders of photos, or photos_train")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for source in given.photos:
        for pair in track(find_pairs(source, 1), source):
            photo = to_float(reading.read_rgb8(pair.gt))
            for factor, small in crisp(photo):
                file = given.folder / f"{Path(source).name}_{pair.name}_{round(100 * factor)}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                writing.write(file, DecodedImage.of(small))


def crisp(photo: Tensor) -> list[tuple[float, Tensor]]:
    """A photo at its largest sharp factor and at half of that; nothing if it is never sharp.

    Args:
        photo: float, (3, H, W), [0, 1].
    """
    for factor in FACTORS:
        found = [(each, shrunk(photo, each)) for each in (factor, factor / 2)]
        if sharpness(found[0][1]) >= SHARP:
            return [(each, small) for each, small in found if min(small.shape[1:]) >= LEAST]
    return []


def shrunk(photo: Tensor, factor: float) -> Tensor:
    """Bicubic with antialiasing, clamped; float, (3, H, W), [0, 1]."""
    return photo if factor == 1 else resize(photo, factor).clamp(0, 1)


def sharpness(photo: Tensor) -> float:
    """Of the columns' and rows' differences; see the module's text."""
    grey = photo.mean(0)
    near = grey.diff(dim=1).square().mean() + grey.diff(dim=0).square().mean()
    far = (grey[:, 2:] - grey[:, :-2]).square().mean() + (grey[2:] - grey[:-2]).square().mean()
    return float((near / far).sqrt())


if __name__ == "__main__":
    main()
