"""What `ckpt_path=auto` measures on clean and damaged images, and how many it calls damaged.

    python -m experiments.super_resolution.limits

Kodak's photos and the first of BSDS500's training part ($RESTORE_DATA), shrunk by bicubic interpolation and damaged in
the five kinds of `degraded.py`, with other random numbers. None of them is among the photos that auto is scored on.
"""

import argparse
from collections import defaultdict

import numpy as np
from rich.progress import track

from experiments.data_folder import data_folder
from experiments.super_resolution.degraded import KINDS
from restore.data.datasets import degrade
from restore.data.hr_lr_folders import find_pairs
from restore.image import reading
from restore.inference.auto import damages, measured
from restore.io.tables import markdown_rows

COUNT, SEED = 60, 1  # COUNT of BSDS
SCALES = (2, 4)


def main() -> None:
    """A line for each scale and kind."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    folders = {"kodak24": 10**9, "bsds/images/train": COUNT}
    files = [pair.gt for name, count in folders.items() for pair in find_pairs(str(data_folder() / name), 2)[:count]]
    lines: list[list[str]] = []
    for scale in SCALES:
        found = defaultdict[str, list[dict[str, float]]](list)
        called = dict.fromkeys(KINDS, 0)
        for number, file in enumerate(track(files, f"x{scale}")):
            whole = reading.read_rgb8(file)
            height, width = (side // scale * scale for side in whole.shape[1:])
            for kind, (name, degradations) in enumerate(KINDS.items()):
                random = np.random.default_rng([SEED, kind, number])
                lq, _ = degrade(whole[:, :height, :width], scale, degradations, random)
                found[name].append(measured(lq))
                called[name] += bool(damages(lq))
        names = list(found["clean"][0])
        lines = lines or [["scale", "kind", "called damaged", *(f"{name}, 5 to 95 %" for name in names)]]
        for kind_name, rows in found.items():
            spans = [np.quantile([row[name] for row in rows], (0.05, 0.95)) for name in names]
            cells = [f"{low:.3g} to {high:.3g}" for low, high in spans]
            lines.append([f"x{scale}", kind_name, f"{called[kind_name]} of {len(files)}", *cells])
    print(markdown_rows(lines))


if __name__ == "__main__":
    main()
