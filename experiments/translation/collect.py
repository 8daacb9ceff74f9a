"""Scores the networks and the training photos' mean on BSDS500's test pairs, and draws the study's figures.

    python -m experiments.translation.collect multirun/translation_contours/*=*/

Writes pairs.csv, runs.csv, sheet.jpg and stages.jpg. Protocol translation_rgb; the weights are those of the last step
(moving average).
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from experiments.data_folder import data_folder
from restore.data.translation import TranslationData
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage
from restore.metrics.protocols import protocol

HERE = Path(__file__).parent
READING: dict[str, Any] = {"folder_a": "contours", "folder_b": "images", "load_size": 144, "patch_size": 128}
PAIR_COLUMNS = ["losses", "trained", "seed", "image", "l1", "psnr_rgb", "ssim_rgb", "detail"]
RUN_COLUMNS = ["losses", "trained", "seed", "seconds", "step", "l1"]
SHOWN = ["10081", "118015", "130066", "201080", "228076"]  # BSDS500 test photos
SIDE = 128


def main() -> None:
    """Rows of all, and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="run folders")
    folders: list[Path] = parser.parse_args().folders
    test = test_pairs()
    rows, runs, restored = mean_image(test), list[dict[str, Any]](), {}
    for folder in folders:
        who = settings_of(folder)
        images = evaluated(folder)
        restored[tuple(who.values())] = images
        rows += [{**who, **row, "detail": detail_ratio(images / f"{row['image']}.png", test)} for row in scores(folder)]
        runs += [{**who, **row} for row in curve(folder)]
    write("pairs.csv", PAIR_COLUMNS, rows)
    write("runs.csv", RUN_COLUMNS, runs)
    draw(restored, test)
    draw_stages(next(folder for folder in folders if tuple(settings_of(folder).values()) == ("all", "staged", 0)))


def settings_of(folder: Path) -> dict[str, Any]:
    """Which losses, which schedule, which seed."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    model = config["model"]
    losses = "L1" if model["adversarial_weight"] == 0 else "L1 + adversarial" if model["style_weight"] == 0 else "all"
    return {"losses": losses, "trained": "at once" if model["stages"] == [] else "staged", "seed": config["seed"]}


def evaluated(folder: Path) -> Path:
    """By `restore evaluate`, once; the folder of the restored images."""
    output = folder / "evaluate"
    if not (output / "results.csv").exists():
        argv = [sys.executable, "-m", "restore.evaluate", f'ckpt_path="{folder / "checkpoints/last.ckpt"}"']
        argv += [f"data.{key}={value}" for key, value in READING.items()]
        argv += [f"benchmarks=[{data_folder() / 'bsds'}]", f'output="{output}"', "save_images=true", "device=cpu"]
        subprocess.run(argv, check=True)
    return next(path for path in (output / "images").glob("*/*") if path.is_dir())


def scores(folder: Path) -> list[dict[str, str]]:
    """Of every test pair."""
    with (folder / "evaluate" / "results.csv").open() as file:
        return list(csv.DictReader(file))


def curve(folder: Path) -> list[dict[str, Any]]:
    """L1 on the ten validation pairs, at every validation."""
    seconds = json.loads((folder / "result.json").read_text())["seconds"]
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/bsds_held_out/l1"]]
    return [{"seconds": seconds, "step": row["step"], "l1": row["val/bsds_held_out/l1"]} for row in rows]


def test_pairs() -> Any:
    """Contours and photos of the test part, as validation reads them."""
    data = TranslationData(root=str(data_folder() / "bsds"), **READING)
    return data.images(next(iter(data.validation_sets.values())))


def mean_image(test: Any) -> list[dict[str, Any]]:
    """The mean of the training photos, resized to each test photo, scored as the output for every input."""
    files = sorted((data_folder() / "bsds/images/train").glob("*.jpg"))
    photos = [reading.read_rgb8(file).float() / 255 for file in files]
    rows, means = [], dict[tuple[int, ...], Tensor]()
    for k in range(len(test)):
        gt = test[k]["gt"]
        size = tuple(gt.shape[1:])
        if size not in means:
            means[size] = torch.stack([resized(photo, size) for photo in photos]).mean(0)
        row = protocol("translation_rgb").score(means[size], gt, scale=1)
        who = {"losses": "mean image", "trained": "", "seed": "", "image": test[k]["name"]}
        rows.append({**who, **row, "detail": detail(means[size]) / detail(gt)})
    return rows


def resized(photo: Tensor, size: tuple[int, ...]) -> Tensor:
    """(3, H, W) at another size, upright or not."""
    return F.interpolate(photo[None], list(size), mode="bilinear", antialias=True)[0]


def detail(photo: Tensor) -> float:
    """Mean size of the differences of neighbouring pixels."""
    return float(photo.diff(dim=1).abs().mean() + photo.diff(dim=2).abs().mean())


def detail_ratio(file: Path, test: Any) -> float:
    """Detail of a restored image over that of the photo."""
    names = {pair.name: k for k, pair in enumerate(test.pairs)}
    return detail(reading.read(file).rgb()) / detail(test[names[file.stem]]["gt"])


def write(name: str, columns: list[str], rows: list[dict[str, Any]]) -> None:
    """A CSV file beside this one."""
    with (HERE / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: f"{value:.5f}" if isinstance(value, float) else value for key, value in row.items()} for row in rows
        )


def draw(restored: dict[tuple[Any, ...], Path], test: Any) -> None:
    """The middle of some test images: contours, every kind of training (seed 0), photo."""
    shown = [path for who, path in restored.items() if who[2] == 0]
    names = {pair.name: k for k, pair in enumerate(test.pairs)}
    rows = []
    for name in SHOWN:
        sample = test[names[name]]
        images = [sample["lq"], *(reading.read(folder / f"{name}.png").rgb() for folder in shown), sample["gt"]]
        rows.append(torch.cat([F.pad(middle(each), (0, 4), value=1.0) for each in images], 2)[..., :-4])
    sheet = torch.cat([F.pad(row, (0, 0, 0, 4), value=1.0) for row in rows], 1)[:, :-4]
    writing.write(HERE / "sheet.jpg", DecodedImage.of(sheet))
    print("columns of sheet.jpg:", "contours;", *(f"{who[0]}, {who[1]};" for who in restored if who[2] == 0), "photo")


def draw_stages(folder: Path) -> None:
    """The second validation pair at the end of every stage: contours, the outputs from low to high, photo."""
    rows = []
    for file in sorted((folder / "stages").glob("*.png")):
        sheet = reading.read(file).rgb()  # one row for each validation pair
        parts = sheet[:, SIDE : 2 * SIDE].chunk(5, dim=2)
        rows.append(torch.cat([F.pad(middle(each), (0, 4), value=1.0) for each in parts], 2)[..., :-4])
    writing.write(
        HERE / "stages.jpg", DecodedImage.of(torch.cat([F.pad(row, (0, 0, 0, 4), value=1.0) for row in rows], 1))
    )


def middle(image: Tensor) -> Tensor:
    """The crop in the middle."""
    top, left = ((length - SIDE) // 2 for length in image.shape[1:])
    return image[:, top : top + SIDE, left : left + SIDE]


if __name__ == "__main__":
    main()
