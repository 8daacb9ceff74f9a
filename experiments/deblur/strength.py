"""Teaches trained deblurring weights where to do nothing: adds a strength to them, and fits it to many crops.

    python -m experiments.deblur.strength deblur.safetensors with_strength.safetensors data/crisp $RESTORE_DATA/kodak24

Only the strength is fitted, so the energies of the features of each crop, and what its result depends on, are computed
once. The crops are of the folders' photos, which are first resized, softened, sharpened and compressed at random: a
photo is to stay as it is however sharp it is by itself. Then motion blur is added, a third of it below 1 px.
"""

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

import kornia
import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from restore.checkpoints import model_card, reader
from restore.data.hr_lr_folders import find_pairs
from restore.degradations.basic import GaussianBlur, Jpeg, OneOf, Sometimes
from restore.degradations.motion_blur import MotionBlur
from restore.image import reading
from restore.image.decoded_image import to_float
from restore.networks.attention_unet import AttentionUNet, Strength
from restore.ops.resize import resize

SIDE, MARGIN = 136, 12  # px, of a crop as wide as the strength's window, and of what blur draws into it
LENGTHS = {(0.0, 1.0): 0.35, (1.0, 2.0): 0.2, (2.0, 6.0): 0.25, (6.0, 12.0): 0.12, (12.0, 20.0): 0.08}  # px: share
UNTOUCHED = 0.08
FACTORS = (1.0, 1.0, 1.0, 0.85, 0.7, 0.6)
FLOOR = 3e-6  # mean squared error, 55 dB: what is better counts as perfect
EPOCHS, BATCH, LR = 300, 256, 2e-3


class Sharpened:
    """Unsharp mask of a radius of 0.5 to 1.2 px and an amount of 0.1 to 1."""

    def __call__(self, lq: Tensor, random: np.random.Generator) -> tuple[Tensor, str]:
        """Sharpen one image."""
        sigma, amount = random.uniform(0.5, 1.2), random.uniform(0.1, 1)
        soft = kornia.filters.gaussian_blur2d(lq[None], (7, 7), (sigma, sigma), border_type="replicate")[0]
        return (lq + amount * (lq - soft)).clamp(0, 1), f"sharpened {amount:.2f}"


VARIED = (
    Sometimes(share=0.55, steps=[OneOf(steps=[GaussianBlur(low=0.2, high=0.8), Sharpened()])]),
    Sometimes(share=0.6, steps=[Jpeg(low=60, high=96, full_chroma=0.5)]),
)


class Crops(NamedTuple):
    """Energies of the features (crops, channels), and sums (crops, 3): error^2, error x residual, residual^2."""

    energies: Tensor
    sums: Tensor

    def gains(self, strength: Tensor) -> Tensor:
        """Decibels by which strengths (crops,) make each crop better."""
        error, both, residual = self.sums.T
        after: Tensor = (error - 2 * strength * both + strength.square() * residual).clamp_min(0)
        ratio: Tensor = (after + FLOOR) / (error + FLOOR)
        return -10 * ratio.log10()


def main() -> None:
    """Collect, fit, write the weights with their card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="a checkpoint, or the name of weights, without a strength")
    parser.add_argument("output", type=Path, help="the safetensors file to write")
    parser.add_argument("photos", nargs="+", help="folders of sharp photos, or photos_train")
    parser.add_argument("--crops", type=int, default=14_000)
    parser.add_argument("--harm", type=float, default=4.0, help="how much more a decibel lost counts than one gained")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stored = reader.read(given.weights)
    network, strength = with_strength(stored)
    fit(strength, collect(network, given.photos, given.crops), given.harm)
    facts = stored["restore"] | {"arguments": stored["restore"]["arguments"] | {"strength": True}}
    model_card.write(given.output, facts, {name: each.half() for name, each in network.state_dict().items()})


def with_strength(stored: dict[str, Any]) -> tuple[AttentionUNet, Strength]:
    """The network of a checkpoint or of weights with a card, and its strength, which is new."""
    arguments = stored["restore"]["arguments"]
    own = {name: arguments[name] for name in ("width", "modules", "attention", "squeeze") if name in arguments}
    network = AttentionUNet(**own, strength=True, global_residual=True)
    strength = network.strength
    assert strength is not None
    fresh = {f"strength.{name}": each for name, each in strength.state_dict().items()}
    network.load_state_dict(reader.network_weights(stored, "ema") | fresh)
    return network.eval(), strength


def collect(network: AttentionUNet, folders: list[str], count: int) -> Crops:
    """Of random crops of all photos."""
    read = (to_float(reading.read_rgb8(pair.gt)) for folder in folders for pair in find_pairs(folder, 1))
    photos = [photo for photo in read if min(photo.shape[1:]) >= SIDE + 2 * MARGIN + 2]
    random, rows = np.random.default_rng(0), []
    for _ in track(range(count), "crops"):
        gt = varied(photos[int(random.integers(len(photos)))], random)
        lq, gt = (each[None, :, MARGIN:-MARGIN, MARGIN:-MARGIN] for each in (blurred(gt, random), gt))
        with torch.inference_mode():
            residual, energies = network.residual(lq.contiguous(memory_format=torch.channels_last))
        error = gt - lq
        sums = torch.stack([(a * b).mean() for a, b in ((error, error), (error, residual), (residual, residual))])
        rows.append((torch.cat([each.mean((0, 2, 3)) for each in energies]), sums))
    return Crops(*(torch.stack(each).clone() for each in zip(*rows, strict=True)))


def varied(photo: Tensor, random: np.random.Generator) -> Tensor:
    """A crop of SIDE + 2 MARGIN px of the photo resized, softened or sharpened, and compressed."""
    side = SIDE + 2 * MARGIN
    least = (side + 2) / min(photo.shape[1:])
    factor = max(float(random.choice(FACTORS)), least)
    cut = math.ceil((side + 1) / factor)
    top, left = (int(random.integers(max(1, length - cut + 1))) for length in photo.shape[1:])
    crop = resize(photo[:, top : top + cut, left : left + cut], factor).clamp(0, 1)[:, :side, :side]
    for degradation in VARIED:
        crop, _ = degradation(crop, random)
    return crop


def blurred(gt: Tensor, random: np.random.Generator) -> Tensor:
    """With motion blur of a length by LENGTHS, in levels of 8 bit."""
    if random.random() < UNTOUCHED:
        return gt
    low, high = list(LENGTHS)[int(random.choice(len(LENGTHS), p=list(LENGTHS.values())))]
    return MotionBlur(low=low, high=high)(gt, random)[0].mul(255).round().div(255)


def fit(strength: Strength, crops: Crops, harm: float) -> None:
    """Fit to the crops' mean gain, where losses count ``1 + harm`` times."""
    inputs = strength.inputs(crops.energies[:, :, None, None])
    spread, middle = torch.std_mean(inputs, 0)
    inputs = (inputs - middle) / spread
    optimizer = torch.optim.AdamW(strength.parameters(), LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in track(range(EPOCHS), "epochs"):
        for some in torch.randperm(len(inputs)).split(BATCH):
            beyond = strength.unbounded(inputs[some])[:, 0, 0, 0]
            gains = Crops(crops.energies[some], crops.sums[some]).gains(beyond + (beyond.clamp(0, 1) - beyond).detach())
            loss = -(gains + harm * gains.clamp_max(0)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    absorb(strength.conv1, middle, spread)


def absorb(first: nn.Conv2d, middle: Tensor, spread: Tensor) -> None:
    """Let a 1x1 convolution fitted to (x - middle) / spread be one of x; both (C, 1, 1)."""
    with torch.no_grad():
        first.weight /= spread
        assert first.bias is not None
        first.bias -= (first.weight * middle).sum((1, 2, 3))


if __name__ == "__main__":
    main()
