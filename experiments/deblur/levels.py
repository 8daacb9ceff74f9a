"""Writes levels.csv, what `restore evaluate` found on a benchmark of `experiments.deblur.benchmark`, level by level.

    python -m experiments.deblur.levels data/motion_blur outputs/classical/unsharp outputs/evaluate/deblur_narrow_x1

The arguments are the benchmark and the folders of evaluations, of networks or of anything else that wrote a
results.csv, whose names stand in the table. Gains are over the blurred input, which is scored here. An image is harmed
if its gain is below -0.05 dB. Protocol deblur_rgb.
"""

import argparse
import csv
from pathlib import Path
from statistics import mean

from restore.image import reading
from restore.metrics.protocols import psnr, to_8bit

HERE = Path(__file__).parent
HARM = -0.05  # dB


def main() -> None:
    """Write the rows of all folders, and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path, help="the benchmark's folder")
    parser.add_argument("evaluations", nargs="+", type=Path, help="folders with the results.csv of each restorer")
    given = parser.parse_args()
    found = {"blurred": inputs(given.benchmark)}
    found |= {each.name: scores(each / "results.csv") for each in given.evaluations}
    with (HERE / "levels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["restorer", "image", "psnr_rgb"])
        writer.writerows([who, image, f"{found[who][image]:.4f}"] for who in found for image in found["blurred"])
    print(written())


def written() -> str:
    """The table of levels.csv."""
    found: dict[str, dict[str, float]] = {}
    with (HERE / "levels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["restorer"], {})[row["image"]] = float(row["psnr_rgb"])
    return table(found.pop("blurred"), found)


def inputs(benchmark: Path) -> dict[str, float]:
    """PSNR of the blurred images as they are, by `<level>/<photo>`, first the level that is blurred least."""
    found: dict[str, dict[str, float]] = {}
    for file in sorted(benchmark.glob("test/*/blur/*.png")):
        level = file.parent.parent
        blurred, sharp = (reading.read(each).rgb() for each in (file, level / "sharp" / file.name))
        found.setdefault(level.name, {})[f"{level.name}/{file.stem}"] = psnr(to_8bit(blurred), to_8bit(sharp))
    ordered = sorted(found.values(), key=lambda level: -mean(level.values()))
    return {name: score for level in ordered for name, score in level.items()}


def scores(file: Path) -> dict[str, float]:
    """PSNR by `<level>/<photo>`."""
    with file.open(encoding="utf-8", newline="") as text:
        return {row["image"]: float(row["psnr_rgb"]) for row in csv.DictReader(text)}


def table(before: dict[str, float], restorers: dict[str, dict[str, float]]) -> str:
    """Markdown, a line for each level and restorer."""
    lines = [
        "| level | restorer | input, dB | restored, dB | gain | least gain | harmed |",
        "|---|---|---|---|---|---|---|",
    ]
    for level in dict.fromkeys(name.partition("/")[0] for name in before):
        names = [name for name in before if name.partition("/")[0] == level]
        for who, after in restorers.items():
            gains = [after[name] - before[name] for name in names]
            cells = [f"{mean(scores[name] for name in names):.2f}" for scores in (before, after)]
            cells += [f"{mean(gains):+.3f}", f"{min(gains):+.3f}", f"{mean(gain < HARM for gain in gains):.0%}"]
            lines.append(f"| {level} | {who} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
