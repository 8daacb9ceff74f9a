"""Makes the training and the held-out photos of `experiment=zero_shot_start` from kodak24 and photos_cc.

    python -m experiments.zero_shot.start_photos data/zero_shot_start

Training photos are written as they are and at half their size, those of photos_cc at a quarter, too: shrunk,
they have more detail to a pixel. Six photos of Kodak's and two of photos_cc, these at half their size, are held out.
"""

import argparse
from pathlib import Path

from experiments.data_folder import data_folder
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage
from restore.ops.resize import resize_8bit

HELD_OUT = {
    *(f"kodim{number}" for number in ("05", "10", "13", "19", "21", "23")),
    "Dragonfly_by_Bolly",
    "free_by_Peter_Nerlich",
}
FACTORS = {"kodak24": (1, 2), "photos_cc": (1, 2, 4)}  # that sides are divided by


def main() -> None:
    """Write the three folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    for name, factors in FACTORS.items():
        for file in sorted((data_folder() / name).glob("*.png")):
            is_held_out = file.stem in HELD_OUT
            write(file, output / ("held_out" if is_held_out else name), factors[-2:][:1] if is_held_out else factors)


def write(file: Path, folder: Path, factors: tuple[int, ...]) -> None:
    """The photo with its sides divided by each factor."""
    pixels = reading.read_rgb8(file)
    for factor in factors:
        name = file.name if factor == 1 else f"{file.stem}_{factor}.png"
        writing.write(folder / name, DecodedImage(resize_8bit(pixels, 1 / factor)))


if __name__ == "__main__":
    main()
