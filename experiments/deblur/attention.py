"""Does attention follow blur? Half-blurred photos, the attention maps of a trained network and of an untrained one.

    python -m experiments.deblur.attention <run folder or weights>

Each photo (the middle 256 px of BSDS500's first test photos, which are in no training set here) is blurred in one half,
left or right, by a straight path of 8, 16 or 24 px at a random angle; the other half stays sharp. Spearman's rank
correlation is taken over positions between the known blur length, 0 or the path's, and the weight, of each module; a
photo is done twice, once with each half blurred, so that the content of a half has no influence. With two
lengths in equal shares the correlation is at most about 0.87, because the weights have no such ties. A map whose weight
is the same everywhere has no correlation and counts as 0; constant_maps is their number. Writes attention.csv.
"""

import argparse
import csv
import math
from pathlib import Path
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from scipy.stats import spearmanr
from torch import Tensor

from experiments.data_folder import data_folder
from restore.degradations.motion_blur import GAMMA, draw_kernel
from restore.image import reading
from restore.models import loading
from restore.models.deblur import Deblur

HERE = Path(__file__).parent
COUNT, SIDE, LENGTHS, SKIPPED = 24, 256, (8, 16, 24), 16  # px on each side of the border between the halves


def main() -> None:
    """Correlate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ckpt_path")
    trained = loading.load_model(parser.parse_args().ckpt_path, "ema")
    assert isinstance(trained, Deblur)
    torch.manual_seed(0)
    untrained = Deblur(**dict(trained.hparams))
    files = sorted((data_folder() / "bsds/images/test").glob("*.jpg"))[:COUNT]
    rows = []
    for who, model in {"trained": trained, "untrained": untrained}.items():
        found = [correlations(model, middle(reading.read(file).rgb()), k) for k, file in enumerate(track(files, who))]
        for module in found[0]:
            values = [mean(0 if math.isnan(value) else value for value in each[module]) for each in found]
            rows.append({"network": who, "module": module, "spearman": f"{mean(values):.3f}"})
            rows[-1]["photos_above_0"] = f"{mean(value > 0 for value in values):.2f}"
            rows[-1]["constant_maps"] = str(sum(math.isnan(value) for each in found for value in each[module]))
    with (HERE / "attention.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def correlations(model: Deblur, photo: Tensor, k: int) -> dict[str, list[float]]:
    """Of each module, for the two ways to blur a half; nan for a map with the same weight everywhere."""
    random = np.random.default_rng(k)
    length, angle = LENGTHS[k % len(LENGTHS)], random.uniform(0, math.pi)
    offset = np.linspace(-length / 2, length / 2, 200)
    kernel = draw_kernel(np.stack([offset * math.sin(angle), offset * math.cos(angle)], 1), length // 2 + 1)
    linear = F.pad(photo[None] ** GAMMA, [len(kernel) // 2] * 4, mode="reflect")
    blurred = F.conv2d(linear, kernel.expand(3, 1, -1, -1), groups=3)[0].clamp(0, 1) ** (1 / GAMMA)
    half = torch.arange(SIDE) < SIDE // 2
    both = [at_once(model, torch.where(mask, blurred, photo), mask) for mask in (half, ~half)]
    return {module: [each[module] for each in both] for module in both[0]}


def at_once(model: Deblur, lq: Tensor, is_blurred: Tensor) -> dict[str, float]:
    """Spearman's correlation of every module's weights with the blur."""
    weights = dict[str, Tensor]()
    modules = [(name, part) for name, part in model.network.named_modules() if name.endswith(".spatial")]
    handles = [
        part.register_forward_hook(lambda _, __, out, name=name: weights.update({name.removesuffix(".spatial"): out}))
        for name, part in modules
    ]
    with torch.inference_mode():
        model.eval()(lq[None])
    for handle in handles:
        handle.remove()
    column = torch.arange(SIDE)
    kept = (column - SIDE // 2).abs() >= SKIPPED
    found = {}
    for name, weight in weights.items():
        full = F.interpolate(weight, size=(SIDE, SIDE), mode="nearest")[0, 0]
        blur = is_blurred.expand(SIDE, -1)[:, kept]
        found[name] = spearman(full[:, kept].flatten(), blur.flatten())
    return found


def spearman(weights: Tensor, blur: Tensor) -> float:
    """Nan where the weights are all the same, without scipy's warning."""
    if weights.min() == weights.max():
        return math.nan
    return float(spearmanr(weights.numpy(), blur.numpy()).statistic)


def middle(photo: Tensor) -> Tensor:
    """The crop in the middle."""
    top, left = ((length - SIDE) // 2 for length in photo.shape[1:])
    return photo[:, top : top + SIDE, left : left + SIDE]


if __name__ == "__main__":
    main()
