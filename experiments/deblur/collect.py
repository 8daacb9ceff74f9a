"""Scores the trained networks, the shipped weights and the blurred input on GoPro's test frames, and draws the figure.

    python -m experiments.deblur.collect outputs/deblur_narrow/spatial outputs/deblur_narrow/none

Run `experiments.deblur.richardson_lucy` before. Writes frames.csv and frame.png. Protocol deblur_rgb; the weights are
those of the last step (moving average).
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from experiments.data_folder import data_folder
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage

HERE = Path(__file__).parent
COLUMNS = ["who", "image", "psnr_rgb", "ssim_rgb"]
SHOWN = 160


def main() -> None:
    """Rows of all, and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="run folders")
    folders = parser.parse_args().folders
    rows = scored("blurred", "identity", folders[0] / "evaluate_identity")
    with (HERE / "richardson_lucy.csv").open() as file:
        rows += list(csv.DictReader(file))
    for folder in folders:
        attention = yaml.safe_load((folder / "config.yaml").read_text())["model"]["attention"]
        rows += scored(f"attention={attention}", str(folder / "checkpoints/last.ckpt"), folder / "evaluate")
    rows += scored("deblur_narrow", "deblur_narrow", folders[0].parent / "evaluate_deblur_narrow")
    with (HERE / "frames.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draw(next((folders[0] / "evaluate/images").glob("*/*/*/")))


def scored(who: str, ckpt_path: str, output: Path) -> list[dict[str, str]]:
    """By `restore evaluate`, once."""
    if not (output / "results.csv").exists():
        argv = [
            sys.executable,
            "-m",
            "restore.evaluate",
            f"ckpt_path={ckpt_path}",
            f"benchmarks=[{data_folder() / 'gopro'}]",
        ]
        argv += ["protocol=deblur_rgb", "baseline=null", f"output={output}", "save_images=true", "device=cpu"]
        subprocess.run(argv, check=True)
    with (output / "results.csv").open() as file:
        return [{"who": who, **row, "image": Path(row["image"]).name} for row in csv.DictReader(file)]


def draw(restored: Path) -> None:
    """A part of the last test frame, the least blurred: blurred, Richardson-Lucy, restored, sharp."""
    file = sorted((data_folder() / "gopro/test").glob("*/blur/*.png"))[-1]
    sharp = file.parent.parent / "sharp" / file.name
    files = [file, Path("outputs/richardson_lucy") / file.name, restored / file.name, sharp]
    parts = [middle(reading.read(each).rgb()) for each in files]
    row = torch.cat([F.pad(part, (0, 4), value=1.0) for part in parts], 2)[..., :-4]
    writing.write(HERE / "frame.png", DecodedImage.of(F.interpolate(row[None], scale_factor=2)[0]))


def middle(frame: Tensor) -> Tensor:
    """The crop in the middle."""
    top, left = ((length - SHOWN) // 2 for length in frame.shape[1:])
    return frame[:, top : top + SHOWN, left : left + SHOWN]


if __name__ == "__main__":
    main()
