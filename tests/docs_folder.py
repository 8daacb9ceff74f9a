"""The folder in which the documents' commands are run: every file and folder that a page may name without making it.

To it come a run and two evaluations (RUNS, EVALUATIONS), made with the commands. ``pictures/`` is what RESTORE_DATA
names: the sets that the studies work on.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image, ImageFilter
from spandrel.architectures.ESRGAN import ESRGAN
from torch import Tensor

from restore.data.embedded_photos import EMBEDDED, embedded
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage
from restore.networks.information_gain import InformationGainNetwork
from restore.ops.resize import resize_8bit

SIDE = 64
RUN = "outputs/demo/demo"  # the one of `make demo`
RUNS = (
    "outputs/a/1",
    "outputs/a/2",
    "multirun/x/seed=0,model.width=16",
    "multirun/x/seed=1,model.width=16",
)  # its copies
EVALUATIONS = ("outputs/evaluate/best_x2", "outputs/evaluate/other_x2")
PICTURES = "pictures"
BSDS_TEST = ("10081", "118015", "130066", "201080", "228076")  # those that the translation study shows
ROOT = Path(__file__).parent.parent


def build(folder: Path) -> None:
    """Make all of it, out of parts of the embedded photos."""
    pictures = _crops()

    def save(*names: str, suffix: str = ".png") -> None:
        for name in names:
            path = folder / name if Path(name).suffix else folder / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            writing.write(path, DecodedImage(next(pictures)))

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
    _save_pictures_of_the_studies(folder / PICTURES, save)
    for sharp in (*folder.glob("data/GoPro/*/*/sharp/*.png"), *folder.glob(f"{PICTURES}/gopro/*/*/sharp/*.png")):
        blurred = sharp.parent.with_name("blur") / sharp.name
        blurred.parent.mkdir(exist_ok=True)
        with Image.open(sharp) as file:
            file.filter(ImageFilter.BoxBlur(2)).save(blurred)
    for part, count in {"train": 2, "val": 1, "test": 1}.items():
        for k in range(count):
            path = folder / f"data/facades/{part}/{k + 1}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            writing.write(path, DecodedImage(torch.cat([next(pictures), _label_map(k)], 2)))

    colours = np.array([[0, 0, 255], [255, 80, 0], [0, 170, 0]], np.uint8)  # those that the page on translation names
    for k, part in enumerate(("train", "train", "val")):
        classes = np.random.default_rng(k).integers(0, 3, (SIDE // 8, SIDE // 8), np.uint8).repeat(8, 0).repeat(8, 1)
        save(f"my_maps/{part}/B/{k}", f"my_coloured_maps/{part}/B/{k}")
        for name, pixels in {"my_maps": classes, "my_coloured_maps": colours[classes]}.items():
            (folder / name / part / "A").mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / name / part / "A" / f"{k}.png")

    theirs = ESRGAN(num_filters=16, num_blocks=1, scale=4)
    torch.save({"params_ema": theirs.state_dict()}, folder / "RealESRGAN_x4plus.pth")  # as its authors save it
    network = InformationGainNetwork(groups=2, blocks=2, channels=16, image_skip="bicubic")
    torch.save(network.state_dict(), folder / "theirs.pth")  # bare weights, of the preset that SMALLER chooses


def _crops() -> Iterator[Tensor]:
    """Squares of the embedded photos, no two the same."""
    whole = [reading.read_rgb8(file) for name in EMBEDDED for file in embedded(name)]
    for shift in (0, SIDE // 2, SIDE // 4):
        for y in range(shift, 300 - SIDE, SIDE):
            for x in range(60 + shift, 450 - SIDE, SIDE):
                crops = (photo[:, y : y + SIDE, x : x + SIDE] for photo in whole)
                yield from (crop for crop in crops if crop.float().std() > 20)  # nothing is to be learned from sky


def _save_pictures_of_the_studies(folder: Path, save: Callable[..., None]) -> None:
    """A few pictures of each set, laid out as the studies' scripts want them."""
    photo = reading.read_rgb8(embedded("photos_held_out")[0])
    large = [*(f"benchmarks/Set5/HR/{name}" for name in ("bird", "butterfly")), "kodak24/kodim01", "kodak24/kodim19"]
    for k, name in enumerate(large):  # below 64 px, once shrunk, no blur can be estimated
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        writing.write(folder / f"{name}.png", DecodedImage(photo[:, 8 * k : 8 * k + 128, 50 * k : 50 * k + 128]))
    save(*(f"{PICTURES}/benchmarks/Set14/HR/{name}" for name in ("comic", "zebra")))
    for sharp in (folder / "benchmarks/Set5/HR").iterdir():
        small = folder / "benchmarks/Set5/LR_bicubic/X2" / sharp.name
        small.parent.mkdir(parents=True, exist_ok=True)
        writing.write(small, DecodedImage(resize_8bit(reading.read_rgb8(sharp), 1 / 2)))
    save(*(f"{PICTURES}/gopro/train/GOPR0372_07_00/sharp/00000{k}" for k in range(6)))
    save(*(f"{PICTURES}/gopro/test/GOPR0372_07_00/sharp/00012{k}" for k in range(2)))
    save(f"{PICTURES}/photos_cc/free")
    (folder / "photos_cc/ATTRIBUTION.csv").write_text("file,licence,author,source\nfree.png,CC0,A. Body,none\n")
    bsds = {"train": [str(k) for k in range(12)], "test": BSDS_TEST}
    for part, names in bsds.items():
        save(*(f"{PICTURES}/bsds/images/{part}/{name}.jpg" for name in names))
        for name in names:
            contours = folder / f"bsds/contours/{part}/{name}.png"
            contours.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(folder / f"bsds/images/{part}/{name}.jpg") as file:
                file.convert("L").filter(ImageFilter.FIND_EDGES).save(contours)
    for k, part in enumerate(("train", "train", "train", "val", "test", "test")):
        save(f"{PICTURES}/camvid/{part}/B/{k}")
        classes = np.random.default_rng(k).integers(0, 12, (SIDE // 8, SIDE // 8), np.uint8).repeat(8, 0).repeat(8, 1)
        (folder / f"camvid/{part}/A").mkdir(parents=True, exist_ok=True)
        Image.fromarray(classes).save(folder / f"camvid/{part}/A/{k}.png")


def study_scripts(folder: Path, smaller: Mapping[str, Mapping[str, str]]) -> None:
    """A copy of experiments/ in ``folder``, whose scripts write beside themselves, with some of their numbers smaller.

    Args:
        smaller: script, below experiments/ -> what stands in it once -> what takes its place.
    """
    shutil.copytree(ROOT / "experiments", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for script, changes in smaller.items():
        text = (folder / script).read_text(encoding="utf-8")
        for old, new in changes.items():
            assert text.count(old) == 1, f"{script} has `{old}` {text.count(old)} times"
            text = text.replace(old, new)
        (folder / script).write_text(text, encoding="utf-8")
    header, *_, last = (folder / "zero_shot/blur.csv").read_text().splitlines(keepends=True)
    (folder / "zero_shot/blur.csv").write_text(header + last)  # its script passes over photos that are in it
    header, *_ = (folder / "zero_shot/unknown_photos.csv").read_text().splitlines(keepends=True)
    (folder / "zero_shot/unknown_photos.csv").write_text(header)


def _label_map(seed: int) -> Tensor:
    """Eight-pixel blocks in the colours of the classes of data=facades."""
    palette = yaml.safe_load((ROOT / "conf/data/facades.yaml").read_text())["palette"]
    classes = np.random.default_rng(seed).integers(0, len(palette), (SIDE // 8, SIDE // 8))
    blocks = np.array(palette, np.uint8)[classes].repeat(8, 0).repeat(8, 1)
    return torch.from_numpy(blocks).permute(2, 0, 1)
