"""Scores the study's run folders and writes the three CSV files that `tables.py` prints.

    python -m experiments.super_resolution.collect ablation multirun/super_resolution_ablation/*=*/
    python -m experiments.super_resolution.collect weights super_resolution_x2 super_resolution_x3

A run that was scored before (evaluate/ in its folder) is not scored again.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from experiments.data_folder import data_folder

HERE = Path(__file__).parent
SCORES = ["benchmark", "image", "psnr_y", "ssim_y"]


def main() -> None:
    """Choose the part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["ablation", "weights"])
    parser.add_argument("what", nargs="+", help="run folders, or names of shipped weights")
    given = parser.parse_args()
    if given.part == "ablation":
        ablation([Path(folder) for folder in given.what])
    else:
        weights(given.what)


def ablation(folders: list[Path]) -> None:
    """Per-image scores on the BSDS test photos and Set14, and the entropies of the last validation."""
    rows, entropies = [], []
    for folder in folders:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        run = {"attention": config["model"]["attention"], "seed": config["seed"]}
        benchmarks = [data_folder() / "bsds/images/test", data_folder() / "benchmarks/Set14"]
        scored = evaluate(str(folder / "checkpoints/last.ckpt"), folder / "evaluate", benchmarks)
        for row in scored:
            row["benchmark"] = {"test": "BSDS test"}.get(row["benchmark"], row["benchmark"])
        rows += [run | row for row in scored]
        logged = list(csv.DictReader((folder / "metrics.csv").open()))
        last = next(row for row in reversed(logged) if row.get("entropy/0"))
        entropies += [
            run | {"depth": key.removeprefix("entropy/"), "bits": f"{float(value):.4f}"}
            for key, value in last.items()
            if key.startswith("entropy/")
        ]
    write("ablation.csv", ["attention", "seed", *SCORES], rows)
    write("entropy.csv", ["attention", "seed", "depth", "bits"], entropies)


def weights(names: list[str]) -> None:
    """Per-image scores of shipped weights on Set5 and Set14, with and without self-ensemble, and of bicubic."""
    rows = []
    benchmarks = [data_folder() / "benchmarks/Set5", data_folder() / "benchmarks/Set14"]
    for name in names:
        for ensemble in (False, True):
            output = Path(f"outputs/evaluate/{name}{'_ensemble' if ensemble else ''}")
            scored = evaluate(name, output, benchmarks, f"self_ensemble={str(ensemble).lower()}")
            rows += [{"weights": name, "self_ensemble": ensemble} | row for row in scored]
    write("weights.csv", ["weights", "self_ensemble", "scale", *SCORES], rows)


def evaluate(ckpt_path: str, output: Path, benchmarks: list[Path], *overrides: str) -> list[dict[str, Any]]:
    """Rows of results.csv, from `restore evaluate` where they are not there for these very weights."""
    from restore.checkpoints.reader import sha256

    done = output / "results.json"
    is_known = done.exists() and ckpt_path != "auto"  # which opens weights that its scores do not name
    if not is_known or json.loads(done.read_text())["sha256"] != sha256(ckpt_path):
        argv = [sys.executable, "-m", "restore.evaluate", f'ckpt_path="{ckpt_path}"', f'output="{output}"']
        argv += [f"benchmarks=[{','.join(map(str, benchmarks))}]", "baseline=null", *overrides]
        subprocess.run(argv, check=True)
    return list(csv.DictReader((output / "results.csv").open()))


def write(name: str, columns: list[str], rows: list[dict[str, Any]]) -> None:
    """One CSV beside this script."""
    with (HERE / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
