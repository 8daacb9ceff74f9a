"""Prints the study's tables from the CSV files beside it; `--write` puts them into README.md.

python -m experiments.camvid.tables [--write]
"""

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from experiments.camvid.collect import WHO
from experiments.readme import command
from experiments.translation.tables import compared
from restore.io.tables import markdown_rows

HERE = Path(__file__).parent
Who = tuple[str, ...]  # losses, trained, seed
COLOURS = ("class colours", "", "")
TRAINED = {"0001TP": "other frames trained on: ", "Seq05VD": "unseen: "}  # of drives


def scores() -> str:
    """Means over the test pairs, and what the label reader finds, for every run and baseline."""
    rows = read("pairs.csv")
    lines = [["losses", "trained", "seed", "L1", "PSNR", "SSIM", "detail", "mean IoU", "pixels right", "minutes"]]
    for run in read("runs.csv"):
        own = [row for row in rows if who(row) == who(run)]
        found = [
            f"{mean(float(row[column]) for row in own):.{digits}f}"
            for column, digits in {"l1": 4, "psnr_rgb": 2, "ssim_rgb": 3, "detail": 2}.items()
        ]
        found += [f"{float(run['mean_iou']):.3f}", f"{float(run['accuracy']):.1%}"]
        minutes = f"{float(run['seconds']) / 60:.1f}" if run["seconds"] else ""
        lines.append([*who(run), *found, minutes])
    return markdown_rows(lines)


def baselines() -> str:
    """Paired differences in L1, every run minus each baseline."""
    l1 = by_image("l1")
    lines = [["losses", "trained", "seed", "L1 - baseline's", "baseline", "95 % interval", "scenes where it is closer"]]
    for each, values in l1.items():
        if each[1]:
            for baseline in (("mean image", "", ""), COLOURS):
                middle, interval, share = compared(values, l1[baseline])
                lines.append([*each, middle, baseline[0], interval, share])
    return markdown_rows(lines)


def drives() -> str:
    """L1 minus class colours' on each drive of the test part."""
    l1 = by_image("l1")
    every = list(dict.fromkeys(map(drive, l1[COLOURS])))
    lines = [["losses", "trained", "seed", *(f"{TRAINED.get(each, '')}{each}" for each in every)]]
    for run, values in l1.items():
        if run[1]:
            cells = []
            for each in every:
                own = {image: value for image, value in values.items() if drive(image) == each}
                middle, interval, share = compared(own, {image: l1[COLOURS][image] for image in own})
                cells.append(f"{middle} ({interval}), closer on {share}")
            lines.append([*run, *cells])
    return markdown_rows(lines)


def drive(image: str) -> str:
    """The drive that a frame is of: its name up to the frame's number."""
    return image.rpartition("_")[0]


def staged() -> str:
    """Paired differences, staged minus at once."""
    l1, accuracy = by_image("l1"), by_image("accuracy")
    columns = ["L1, staged - at once", "95 % interval", "closer", "pixels right, staged - at once", "95 % interval"]
    lines = [["losses", "trained", "seed", *columns]]
    for losses, trained, seed in l1:
        other = (losses, "at once", seed)
        if trained.startswith("staged") and other in l1:
            this = (losses, trained, seed)
            lines.append([*this, *compared(l1[this], l1[other]), *compared(accuracy[this], accuracy[other])[:2]])
    return markdown_rows(lines)


def seeds() -> str:
    """Paired differences between trainings that differ in the seed alone: what chance does."""
    l1, accuracy = by_image("l1"), by_image("accuracy")
    columns = ["seed", "L1, this seed - seed 0", "95 % interval", "pixels right, this seed - seed 0", "95 % interval"]
    lines = [["losses", "trained", *columns]]
    for each in l1:
        first = (*each[:2], "0")
        if each[1] and each != first and first in l1:
            lines.append([*each, *(cell for of in (l1, accuracy) for cell in compared(of[each], of[first])[:2])])
    return markdown_rows(lines)


def losses() -> str:
    """Paired differences, each further loss compared with L1 alone, trained alike."""
    l1, accuracy, detail = (by_image(column) for column in ("l1", "accuracy", "detail"))
    columns = ["L1, with - L1 alone", "95 % interval", "pixels right, with - L1 alone", "95 % interval", "detail"]
    lines = [["losses", "trained", "seed", *columns]]
    for each in l1:
        alone = ("L1", *each[1:])
        if each[1] and each != alone and alone in l1:
            of_l1, of_labels = (compared(values[each], values[alone])[:2] for values in (l1, accuracy))
            change = f"{mean(detail[alone].values()):.2f} -> {mean(detail[each].values()):.2f}"
            lines.append([*each, *of_l1, *of_labels, change])
    return markdown_rows(lines)


def by_image(column: str) -> dict[Who, dict[str, float]]:
    """Run -> image -> value."""
    found: dict[Who, dict[str, float]] = {}
    for row in read("pairs.csv"):
        found.setdefault(who(row), {})[row["image"]] = float(row[column])
    return found


def who(row: dict[str, str]) -> Who:
    """The run a row belongs to."""
    return tuple(row[name] for name in WHO)


def read(name: str) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with (HERE / name).open() as file:
        return list(csv.DictReader(file))


TABLES: dict[str, Callable[[], str]] = {
    "scores": scores,
    "baselines": baselines,
    "drives": drives,
    "losses": losses,
    "staged": staged,
    "seeds": seeds,
}


if __name__ == "__main__":
    command(HERE, __doc__, TABLES)
