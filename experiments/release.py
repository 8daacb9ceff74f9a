"""Makes weights for distribution from a finished run: safetensors, and a card with their sources.

    python -m experiments.release outputs/super_resolution_x2/main super_resolution_x2 benchmarks/Set5 benchmarks/Set14

Trained on images whose terms allow it (`data=photos_free`, `data=deblur_free`); the card lists each image. Scores are
those of `restore evaluate` on folders of $RESTORE_DATA, with and without self-ensemble.
"""

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from experiments.data_folder import data_folder
from restore.checkpoints import locate, model_card, reader

EMBEDDED = [
    {"name": "astronaut", "terms": "public domain", "attribution": "NASA, in scikit-image"},
    {"name": "rocket", "terms": "public domain", "attribution": "SpaceX, in scikit-image"},
    {
        "name": "motorcycle_left, motorcycle_right",
        "terms": "as in scikit-image's wheel, which names none",
        "attribution": "Nesic, Westling, Wang, Kitajima, Krathwohl, Scharstein: Middlebury stereo benchmark, 2014",
    },
]
KODAK = {"terms": "unrestricted use", "attribution": "Eastman Kodak Company"}
GOPRO = {
    "name": "GoPro, sequence GOPR0372_07_00, training frames",
    "terms": "CC BY 4.0",
    "attribution": "Nah, Kim, Lee: Deep Multi-scale CNN for Dynamic Scene Deblurring, CVPR 2017",
}
EMOJI = {
    "name": "glyphs of Noto Color Emoji (Debian's fonts-noto-color-emoji)",
    "terms": "SIL Open Font License 1.1",
    "attribution": "Google",
}


def main() -> None:
    """Write the weights, score them, write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("name", help="of the weights in the package")
    parser.add_argument("benchmarks", nargs="+", help="folders under $RESTORE_DATA")
    parser.add_argument("--no-ensemble", action="store_true", help="do not score with self-ensemble as well")
    parser.add_argument("--half", action="store_true", help="store the weights as float16")
    parser.add_argument("--data", help="group that says how `restore evaluate` reads the folders")
    parser.add_argument("--note", help="for the card, what should be known about the training beside its run")
    parser.add_argument("--purpose", help="a sentence for visitors of the page, where that of the method is too vague")
    parser.add_argument(
        "--seen", nargs="+", help="training folders, if trainings before this run saw more than its own"
    )
    given = parser.parse_args()
    stored = reader.read(given.run / "checkpoints/last.ckpt")
    facts = model_card.rebuilding(stored["restore"]["method"], stored["restore"]["arguments"], "ema")
    facts |= {"purpose": given.purpose} if given.purpose else {}
    facts |= {"training": training(given.run, given.seen) | ({"note": given.note} if given.note else {})}
    ensembles = (False,) if given.no_ensemble else (False, True)
    path = locate.SHIPPED / f"{given.name}.safetensors"
    weights = reader.network_weights(stored, "ema")
    if given.half:
        weights = {name: each.half() if each.is_floating_point() else each for name, each in weights.items()}
    model_card.write(path, facts, weights)
    results = [score(given.name, given.benchmarks, given.data, ensemble=ensemble) for ensemble in ensembles]
    model_card.write_facts(path, facts | {"results": results})


def training(run: Path, seen: list[str] | None) -> dict[str, Any]:
    """How the weights were trained, from the run's folder; on the folders ``seen``, if they are not the run's alone."""
    starts = json.loads((run / "environment.json").read_text())["starts"]
    result = json.loads((run / "result.json").read_text())
    config = yaml.safe_load((run / "config.yaml").read_text())
    roots = seen or config["data"]["root"]
    roots = [roots] if isinstance(roots, str) else roots
    return {
        "command": " ".join(["restore fit", *map(shown, yaml.safe_load((run / "overrides.yaml").read_text()))]),
        "commit": starts[0]["git"]["commit"],
        "starts": [{"threads": start["threads"], "device": start["device"], "time": start["time"]} for start in starts],
        "steps": result["steps"],
        "seed": config["seed"],
        "last_start": {"steps": result["steps_run"], "seconds": result["seconds_run"]},
        "data": [source for root in dict.fromkeys(roots) for source in sources(root)],
    }


def sources(root: str) -> list[dict[str, str]]:
    """The images in a training folder or embedded set, without those held out.

    Raises:
        ValueError: the folder contains an image whose terms are unknown.
    """
    name = Path(root).name
    known = {"gopro": [GOPRO], "photos_train": EMBEDDED, "emoji": [EMOJI]}
    if name in known:
        return known[name]
    photos = sorted({re.sub(r"_[24]$", "", file.stem) for file in Path(root).glob("*.png")})  # shrunk: start_photos.py
    if name == "kodak24":
        return [{"name": f"kodak24 ({', '.join(photos)})", **KODAK}]
    shared = {Path(row["name"]).stem: row for row in shared_photos()}
    if unknown := [photo for photo in photos if photo not in shared]:
        raise ValueError(
            f"{root} holds {', '.join(unknown)}, whose terms are not known; leave out what cannot be named"
        )
    return [shared[photo] for photo in photos]


def shown(override: str) -> str:
    """An override for the card: a checkpoint that training began from by its run and id, data without its path."""
    key, _, value = override.partition("=")
    path = Path(value)
    is_of_a_run = key == "init_from" and path.parent.name == "checkpoints"
    if is_of_a_run:
        return f"{key}={path.parents[2].name}/{path.parents[1].name}"
    return override.replace(str(data_folder()), "$RESTORE_DATA")


def shared_photos() -> list[dict[str, str]]:
    """Names, terms and authors of the Creative Commons photos."""
    with (data_folder() / "photos_cc/ATTRIBUTION.csv").open(encoding="utf-8") as file:
        return [
            {"name": row["file"], "terms": row["licence"], "attribution": f"{row['author']}; {row['source']}"}
            for row in csv.DictReader(file)
        ]


def score(name: str, benchmarks: list[str], data: str | None, *, ensemble: bool) -> dict[str, Any]:
    """Means of `restore evaluate` on the CPU, run in another process."""
    folders = ",".join(str(data_folder() / each) for each in benchmarks)
    with tempfile.TemporaryDirectory() as output:
        argv = [sys.executable, "-m", "restore.evaluate", f"ckpt_path={name}", f"benchmarks=[{folders}]"]
        argv += [f"output={output}", "baseline=null", "device=cpu", f"self_ensemble={str(ensemble).lower()}"]
        subprocess.run(argv + ([f"data={data}"] if data else []), check=True)
        found = json.loads((Path(output) / "results.json").read_text())
    (means,) = found["means"].values()
    rounded = {  # None: a score whose weights are not on this machine
        each: {column: round(value, 4) for column, value in scores.items() if value is not None}
        for each, scores in means.items()
    }
    return {"protocol": found["protocol"], "self_ensemble": ensemble, "means": rounded}


if __name__ == "__main__":
    main()
