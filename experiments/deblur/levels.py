"""Prints a table by level of what `restore evaluate` found on a benchmark of `experiments.deblur.benchmark`.

    python -m experiments.deblur.levels data/motion_blur outputs/evaluate/deblur_long

Named are the benchmark and the folders of evaluations, of networks or of anything else that wrote a results.csv. Each
gain is over the input of that picture, which is scored here. A picture is harmed where its gain is below -0.05 dB.
Protocol deblur_rgb.
"""

import argparse
import csv
import json
from pathlib import Path
from statistics import mean

from restore.image import reading
from restore.metrics import protocol

HARM = -0.05  # dB


def main() -> None:
    """One table for all folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path, help="the benchmark's folder")
    parser.add_argument("evaluations", nargs="+", type=Path, help="folders with the results.csv of each restorer")
    given = parser.parse_args()
    print(table(inputs(given.benchmark), {each.name: scores(each / "results.csv") for each in given.evaluations}))


def inputs(benchmark: Path) -> dict[str, float]:
    """PSNR of the blurred pictures by `<level>/<photo>`, as they are, kept in a file of the benchmark's folder."""
    kept = benchmark / "inputs.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    found = {}
    for file in sorted(benchmark.glob("test/*/blur/*.png")):
        blurred, sharp = (reading.read(each).rgb() for each in (file, file.parent.parent / "sharp" / file.name))
        score = protocol("deblur_rgb").score(blurred, sharp, scale=1)["psnr_rgb"]
        found[f"{file.parent.parent.name}/{file.stem}"] = score
    kept.write_text(json.dumps(found) + "\n")
    return found


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
    for level in dict.fromkeys(name.partition("/")[0] for name in next(iter(restorers.values()))):
        for who, after in restorers.items():
            names = [name for name in after if name.partition("/")[0] == level]
            gains = [after[name] - before[name] for name in names]
            cells = [f"{mean(scores[name] for name in names):.2f}" for scores in (before, after)]
            cells += [f"{mean(gains):+.3f}", f"{min(gains):+.3f}", f"{mean(gain < HARM for gain in gains):.0%}"]
            lines.append(f"| {level} | {who} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
