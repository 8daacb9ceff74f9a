"""The folder in which the documents' commands are run: every file and folder that a page may name without making it.

To it come a run and two evaluations (RUNS, EVALUATIONS), made with the commands.
"""

from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image, ImageFilter
from spandrel.architectures.ESRGAN import ESRGAN
from torch import Tensor

from restore.data.photos import EMBEDDED, embedded
from restore.image import reading, writing
from restore.image.picture import Picture
from restore.networks.information_gain import InformationGainNetwork

SIDE = 64
RUN = "outputs/demo/demo"  # the one of `make demo`
RUNS = (
    "outputs/a/1",
    "outputs/a/2",
    "multirun/x/seed=0,model.width=16",
    "multirun/x/seed=1,model.width=16",
)  # its copies
EVALUATIONS = ("outputs/evaluate/best_x2", "outputs/evaluate/other_x2")
ROOT = Path(__file__).parent.parent


def build(folder: Path) -> None:
    """Make all of it, out of parts of the embedded photos."""
    whole = [reading.read_rgb8(file) for name in EMBEDDED for file in embedded(name)]
    crops = [
        photo[:, y : y + SIDE, x : x + SIDE]
        for y in range(0, 256, SIDE)
        for x in range(60, 400, SIDE)
        for photo in whole
    ]
    crops = [crop for crop in crops if crop.float().std() > 20]  # no sky: nothing could be learned from it
    pictures = iter(crops)

    def save(*names: str, suffix: str = ".png") -> None:
        for name in names:
            path = folder / name if Path(name).suffix else folder / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            writing.write(path, Picture(next(pictures)))

    save("photo.jpg", "my photo (1).jpg", "shaken.jpg", "drawing.png", "labels.png")
    save("holiday/beach.jpg", "holiday/boat.png", "frames/1", "frames/2", "my_photos/a", "my_photos/b", "my_photos/c")
    save("data/Set5/HR/baby", "data/Set5/HR/bird", "data/Set14/HR/comic", "data/Set14/HR/zebra")
    save("data/DIV2K/DIV2K_train_HR/0001", "data/DIV2K/DIV2K_train_HR/0002", "data/DIV2K/DIV2K_valid_HR/0801")
    save(*(f"clips/street/{k:04d}" for k in range(14)))
    save(*(f"my_pairs/{part}/{side}/{k}" for part in ("train", "val") for side in "AB" for k in (1, 2)))
    sequences = {"train": ("GOPR0001_01", "GOPR0002_01"), "test": ("GOPR0003_01",)}
    save(
        *(f"data/GoPro/{part}/{name}/sharp/00000{k}" for part, own in sequences.items() for name in own for k in (1, 2))
    )
    for sharp in folder.glob("data/GoPro/*/*/sharp/*.png"):
        blurred = sharp.parent.with_name("blur") / sharp.name
        blurred.parent.mkdir(exist_ok=True)
        with Image.open(sharp) as file:
            file.filter(ImageFilter.BoxBlur(2)).save(blurred)
    for part, count in {"train": 2, "val": 1, "test": 1}.items():
        for k in range(count):
            path = folder / f"data/facades/{part}/{k + 1}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            writing.write(path, Picture(torch.cat([next(pictures), _label_map(k)], 2)))

    theirs = ESRGAN(num_filters=16, num_blocks=1, scale=4)
    torch.save({"params_ema": theirs.state_dict()}, folder / "RealESRGAN_x4plus.pth")  # as its authors save it
    network = InformationGainNetwork(groups=2, blocks=2, channels=16, image_skip="bicubic")
    torch.save(network.state_dict(), folder / "theirs.pth")  # bare weights, of the preset that SMALLER chooses


def small_embedded(folder: Path) -> dict[str, tuple[str, ...]]:
    """The embedded sets made small: names that stand in for those in ``EMBEDDED``."""
    small = {}
    for name, files in EMBEDDED.items():
        made = []
        for file, source in zip(files, embedded(name), strict=True):
            target = folder / name / f"{Path(file).stem}.png"
            writing.write(target, Picture(reading.read_rgb8(source)[:, 100 : 100 + SIDE, 100 : 100 + SIDE]))
            made.append(str(target))
        small[name] = tuple(made)
    return small


def _label_map(seed: int) -> Tensor:
    """Eight-pixel blocks in the colours of the classes of data=facades."""
    palette = yaml.safe_load((ROOT / "conf/data/facades.yaml").read_text())["palette"]
    classes = np.random.default_rng(seed).integers(0, len(palette), (SIDE // 8, SIDE // 8))
    blocks = np.array(palette, np.uint8)[classes].repeat(8, 0).repeat(8, 1)
    return torch.from_numpy(blocks).permute(2, 0, 1)
