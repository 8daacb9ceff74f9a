"""Scores checkpoints and baselines on the held-out glyphs of `emoji_pairs`, and draws some of them.

    python -m experiments.translation.emoji_scores $RESTORE_DATA/emoji translation_emoji

Writes emoji.csv and emoji.png into `--output`: held-out contours, what the last checkpoint makes of them, the glyph;
and what it makes of lines that shake as a person's do. Protocol translation_rgb. The baselines are the mean of the
training glyphs, and the mean colour of each kind of region: outside, inside, line. The region's own mean colour is no
baseline but a bound, because it knows the glyph that is to be guessed.
"""

import argparse
import csv
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import interpolate

from experiments.translation.drawings import DRAWINGS, draw
from restore.config.inference import Inference
from restore.image import reading
from restore.image.decoded_image import DecodedImage
from restore.inference.load import open_restorer
from restore.inference.restorer import Restorer
from restore.metrics.protocols import protocol

OUTSIDE, INSIDE, LINE = range(3)
SHOWN, COLUMNS = 12, 3
SIDE, COLOURS = 128, 96


def main() -> None:
    """All rows, their means, and the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the pairs")
    parser.add_argument("checkpoints", nargs="+", help="files, or shipped weights by name")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    given = parser.parse_args()
    mean_image, colours = of_training(given.folder / "train")
    restorers = [open_restorer(each, inference=Inference(device="cpu")) for each in given.checkpoints]
    rows: list[dict[str, Any]] = []
    shown: list[Tensor] = []
    tests = pairs(given.folder / "test")
    for name, lines, glyph in track(tests, "held-out glyphs"):
        regions = regions_of(lines)
        kinds = kinds_of(regions)
        outputs = {"mean image": mean_image, "kind of region": colours[kinds].permute(2, 0, 1)}
        outputs |= {"own region, a bound": own_means(regions, glyph)}
        outputs |= {restorer.name: restorer.restore(lines).clamp(0, 1) for restorer in restorers}
        scores = {who: protocol("translation_rgb").score(each, glyph, scale=1) for who, each in outputs.items()}
        rows += [{"who": who, "glyph": name, **each} for who, each in scores.items()]
        shown.append(torch.cat([lines, list(outputs.values())[-1], glyph], 2))
    write(given.output / "emoji.csv", rows)
    step = max(1, len(shown) // SHOWN)
    draw_sheet(given.output / "emoji.png", [*shown[::step][:SHOWN], *map(partial(of_drawing, restorers[-1]), DRAWINGS)])
    for who in dict.fromkeys(row["who"] for row in rows):
        own = [row for row in rows if row["who"] == who]
        print(f"{who}: L1 {mean(r['l1'] for r in own):.4f}, PSNR {mean(r['psnr_rgb'] for r in own):.2f}")


def pairs(part: Path) -> list[tuple[str, Tensor, Tensor]]:
    """Name, contours and glyph, float (3, h, w) in [0, 1]."""
    files = sorted((part / "A").glob("*.png"))
    return [(file.stem, reading.read(file).rgb(), reading.read(part / "B" / file.name).rgb()) for file in files]


def of_training(part: Path) -> tuple[Tensor, Tensor]:
    """The mean image (3, h, w), and the mean colour of each kind of region, (3 kinds, 3), of the upright glyphs."""
    total, count, colours, pixels = torch.zeros(()), 0, torch.zeros(3, 3), torch.zeros(3)
    for name, lines, glyph in track(pairs(part), "training glyphs"):
        if not name.endswith("_0"):
            continue
        kinds = kinds_of(regions_of(lines))
        total, count = total + glyph, count + 1
        for kind in range(3):
            colours[kind] += glyph[:, kinds == kind].sum(1)
            pixels[kind] += (kinds == kind).sum()
    return total / count, colours / pixels[:, None]


def regions_of(lines: Tensor) -> Tensor:
    """The number of each pixel's region between black lines, from 1, int (h, w); 0 on a line."""
    found, _ = ndimage.label(lines[0].numpy() > 0.5)
    return torch.from_numpy(found)


def kinds_of(regions: Tensor) -> Tensor:
    """Whether each pixel is outside, in a region that reaches the border, inside or on a line, int (h, w)."""
    border = torch.cat([regions[0], regions[-1], regions[:, 0], regions[:, -1]]).unique()
    kinds = torch.full_like(regions, INSIDE)
    kinds[torch.isin(regions, border)] = OUTSIDE
    kinds[regions == 0] = LINE
    return kinds


def own_means(regions: Tensor, glyph: Tensor) -> Tensor:
    """Every pixel the mean colour of the glyph in its region, on a line that of the nearest one, (3, h, w)."""
    numbers = regions.numpy()
    nearest = ndimage.distance_transform_edt(numbers == 0, return_distances=False, return_indices=True)
    filled = numbers[tuple(nearest)]
    names = np.unique(numbers[numbers > 0])
    means = [ndimage.mean(channel.numpy(), numbers, names) for channel in glyph]
    return torch.from_numpy(np.stack([each[np.searchsorted(names, filled)] for each in means])).float()


def of_drawing(restorer: Restorer, name: str) -> Tensor:
    """A drawing and what becomes of it, side by side, (3, SIDE, 3 SIDE)."""
    lines = torch.from_numpy(np.array(draw(name).convert("RGB"))).permute(2, 0, 1).float() / 255
    both = torch.stack([lines, restorer.restore(lines).clamp(0, 1)])
    small = interpolate(both, (SIDE, SIDE), mode="bilinear", antialias=True)
    return torch.cat([*small, torch.ones_like(small[0])], 2)


def draw_sheet(path: Path, shown: list[Tensor]) -> None:
    """Several in a row, as a PNG of few colours."""
    rows = [torch.cat(shown[k : k + COLUMNS], 2) for k in range(0, len(shown) - COLUMNS + 1, COLUMNS)]
    pixels = DecodedImage.of(torch.cat(rows, 1)).pixels.permute(1, 2, 0).numpy()
    Image.fromarray(pixels).quantize(COLOURS).save(path, optimize=True)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """A CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["who", "glyph", "l1", "psnr_rgb", "ssim_rgb"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.5f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


if __name__ == "__main__":
    main()
