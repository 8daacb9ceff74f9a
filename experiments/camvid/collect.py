"""Scores runs of `experiment=translation_camvid` and two baselines on CamVid's test part, and draws some of its scenes.

    python -m experiments.camvid.collect multirun/translation_camvid/*=*/

Writes pairs.csv, runs.csv and sheet.jpg. Protocol translation_rgb, at a shorter side of 128 px; the weights are those
of the last step (moving average). The baselines are the mean of the training photos, and each class's mean colour by
position: of the training photos' pixels of that class near there. `agreement` is what a network that was trained on
real photos reads back (label_reader.py).
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import yaml
from kornia.filters import gaussian_blur2d
from rich.progress import track
from torch import Tensor

from experiments.camvid import label_reader
from experiments.data_folder import data_folder
from experiments.translation.collect import detail
from restore.config.command import conf_dir
from restore.data.translation import TranslationData
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage
from restore.metrics.protocols import protocol

HERE = Path(__file__).parent
WHO = ["losses", "trained", "seed"]
PAIR_COLUMNS = [*WHO, "image", "l1", "psnr_rgb", "ssim_rgb", "detail", "accuracy"]
RUN_COLUMNS = [*WHO, "steps", "seconds", "mean_iou", "accuracy"]
L1_WEIGHT = 100  # the usual one of this package and of pix2pix; another is named
SHOWN = 5  # scenes of the sheet
LOAD, SIDE = 144, 128  # px of the shorter side, in training before the crop and in scoring
RADIUS, PRIOR = 8.0, 1.0  # px of the mean colours by position; pixels that the class's overall mean counts as there


class Scored(NamedTuple):
    """The images of one run or baseline, in the order of the test pairs, and what `fit` took for them."""

    who: tuple[str, str, int | str]
    images: list[Tensor]
    steps: int | str = ""
    seconds: float | str = ""


def main() -> None:
    """All rows, and the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="run folders")
    folders: list[Path] = parser.parse_args().folders
    torch.set_num_threads(1)
    data = camvid("test")
    (pairs,) = data.validation_sets.values()
    test = [data.images(pairs)[k] for k in range(len(pairs))]
    reader = label_reader.trained(data.crops(label_reader.STEPS * label_reader.BATCH))
    scored = [
        Scored(("the photos", "", ""), [each["gt"] for each in test]),
        *baselines(data, test),
        *runs(folders, test),
    ]
    rows: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    for each in scored:
        matrices = []
        for image, sample in zip(each.images, test, strict=True):
            matrices.append(label_reader.confusion(reader, image, sample["lq"].argmax(0)))
            row = {"image": sample["name"], "detail": detail(image) / detail(sample["gt"])}
            row |= protocol("translation_rgb").score(image, sample["gt"], scale=1)
            rows.append(row | dict(zip(WHO, each.who, strict=True)) | label_reader.agreement(matrices[-1:]))
        found = {"steps": each.steps, "seconds": each.seconds} | label_reader.agreement(matrices)
        summary.append(found | dict(zip(WHO, each.who, strict=True)))
    write("pairs.csv", PAIR_COLUMNS, rows)
    write("runs.csv", RUN_COLUMNS, summary)
    draw(scored, test, data)


def camvid(part: str) -> TranslationData:
    """The training pairs, and those of a part to score, read as conf/data/camvid.yaml says."""
    palette = yaml.safe_load((Path(conf_dir()) / "data/camvid.yaml").read_text())["palette"]
    root = data_folder() / "camvid"
    return TranslationData(
        root=str(root),
        validation=str(root / part),
        in_channels=label_reader.CLASSES,
        input_kind="labels",
        palette=palette,
        one_hot=True,
        load_size=LOAD,
        patch_size=SIDE,
    )


def baselines(data: TranslationData, test: Sequence[Any]) -> Iterator[Scored]:
    """The mean image, and each class's mean colour by position."""
    whole = data.images(data.train_pairs)
    pixels = torch.zeros_like(test[0]["lq"])  # (classes, h, w)
    sums = torch.zeros(len(pixels), *test[0]["gt"].shape)
    for k in track(range(len(data.train_pairs)), "training photos"):
        labels, photo = whole[k]["lq"], whole[k]["gt"]
        sums += labels[:, None] * photo
        pixels += labels
    mean_image = sums.sum(0) / len(data.train_pairs)
    yield Scored(("mean image", "", ""), [mean_image] * len(test))
    overall = sums.sum((2, 3)) / pixels.sum((1, 2))[:, None].clamp(min=1)
    near, count = (smoothed(each) for each in (sums, pixels[:, None]))
    colours = (near + PRIOR * overall[:, :, None, None]) / (count + PRIOR)
    yield Scored(("class colours", "", ""), [(each["lq"][:, None] * colours).sum(0) for each in test])


def smoothed(values: Tensor) -> Tensor:
    """Gaussian mean of (n, c, h, w) over positions."""
    size = 2 * int(3 * RADIUS) + 1
    blurred: Tensor = gaussian_blur2d(values, (size, size), (RADIUS, RADIUS))
    return blurred


def runs(folders: Sequence[Path], test: Sequence[Any]) -> Iterator[Scored]:
    """Each run's restored test images, by `restore evaluate`, once."""
    for folder in folders:
        output = folder / "evaluate"
        if not (output / "results.csv").exists():
            argv = [sys.executable, "-m", "restore.evaluate", f'ckpt_path="{folder / "checkpoints/last.ckpt"}"']
            argv += [
                "data=camvid",
                f"benchmarks=[{data_folder() / 'camvid'}]",
                f"data.load_size={LOAD}",
                f"data.patch_size={SIDE}",
            ]
            argv += [f'output="{output}"', "save_images=true", "device=cpu", "baseline=null"]
            subprocess.run(argv, check=True)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        seconds = json.loads((folder / "result.json").read_text())["seconds"]
        names = {file.stem: file for file in (output / "images").rglob("*.png")}
        images = [reading.read(names[each["name"]]).rgb() for each in test]
        yield Scored(settings_of(config), images, config["trainer"]["max_steps"], seconds)


def settings_of(config: Any) -> tuple[str, str, int]:
    """Losses, schedule and seed of a run."""
    model = config["model"]
    losses = ["L1" if model["l1_weight"] == L1_WEIGHT else f"L1 (weight {model['l1_weight']:g})"]
    losses += ["adversarial"] * (model["adversarial_weight"] > 0)
    losses += ["feature matching"] * (model["feature_matching_weight"] > 0)
    losses += [f"style ({model['style_features']})"] * (model["style_weight"] != 0)
    staged = "at once" if not model["stages"] else f"staged, {config['trainer']['max_steps']} steps"
    return " + ".join(losses), staged, config["seed"]


def write(name: str, columns: list[str], rows: list[dict[str, Any]]) -> None:
    """A CSV file beside this one."""
    with (HERE / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.5f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def draw(scored: Sequence[Scored], test: Sequence[Any], data: TranslationData) -> None:
    """Some scenes: labels, class colours, each run of seed 0 at once, photo; the middle ``SIDE`` px."""
    palette = torch.tensor(data.source.reader.labels.palette, dtype=torch.float32) / 255  # type: ignore[union-attr]
    shown = [each for each in scored if each.who[0] == "class colours" or each.who[1:] == ("at once", 0)]
    rows = []
    for k in range(0, len(test), -(-len(test) // SHOWN)):
        labels = palette[test[k]["lq"].argmax(0)].permute(2, 0, 1)
        row = [labels, *(each.images[k] for each in shown), test[k]["gt"]]
        rows.append(torch.cat([F.pad(middle(each), (0, 4), value=1.0) for each in row], 2)[..., :-4])
    sheet = torch.cat([F.pad(row, (0, 0, 0, 4), value=1.0) for row in rows], 1)[:, :-4]
    writing.write(HERE / "sheet.jpg", DecodedImage.of(sheet))
    print("columns of sheet.jpg: labels;", *(f"{each.who[0]};" for each in shown), "photo")


def middle(image: Tensor) -> Tensor:
    """The square in the middle, of at most ``SIDE`` px."""
    left = (image.shape[2] - SIDE) // 2
    return image[:, :SIDE, left : left + SIDE]


if __name__ == "__main__":
    main()
