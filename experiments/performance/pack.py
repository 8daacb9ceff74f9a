"""Measures storage forms of training images, and writes the study's CSV files pack_*.csv.

    python -m experiments.performance.pack [formats loaders training start]

Photos of $RESTORE_DATA/photos_cc, mirrored to 2040x1356 px, are written in each form into a temporary folder. If one
process works, times are processor seconds, which are the same on a busy machine; `loaders` with workers and `training`
are measured in wall-clock time, and need an idle machine. Forms whose packages are not installed are left out
(pip install h5py zarr litdata webdataset).
"""

import argparse
import csv
import os
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from experiments.data_folder import data_folder
from experiments.performance.pack_forms import FORMS, SIDE, Pixels, Read
from restore.data.pair import DecodedPair, Pair
from restore.data.sampling import one_thread
from restore.data.super_resolution import SuperResolutionData
from restore.io.temporaries import temporary_folder
from restore.profiling.workload import run

HERE = Path(__file__).parent
HEIGHT, WIDTH, COUNT = 1356, 2040, 6  # of the images
SECONDS = 3.0  # processor seconds per figure
FILES = 100_000  # for `start`
STEPS = 40  # per training
WORKERS = (0, 1, 2)
TWO = ("trainer=ddp_cpu", "trainer.devices=2", "threads=1")
Row = dict[str, Any]


def main() -> None:
    """Make the requested measurements, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[[], *PARTS], help="default: all of it")
    torch.set_num_threads(1)
    for what in parser.parse_args().what or PARTS:
        with temporary_folder("restore_performance_") as folder:
            rows = [row | {"processor": processor()} for row in PARTS[what](folder)]
        with (HERE / f"pack_{what}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def processor() -> str:
    """Name and number of the processors."""
    path = Path("/proc/cpuinfo")
    names = [line.partition(": ")[2] for line in path.read_text().splitlines() if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.processor()}"


def photos() -> list[Pixels]:
    """The images, uint8 (H, W, 3)."""
    files = islice(cycle(sorted((data_folder() / "photos_cc").glob("*.png"))), COUNT)
    whole = [np.array(Image.open(file).convert("RGB")) for file in files]
    beyond = [[(0, max(0, HEIGHT - image.shape[0])), (0, max(0, WIDTH - image.shape[1])), (0, 0)] for image in whole]
    padded = [np.pad(image, sides, "symmetric") for image, sides in zip(whole, beyond, strict=True)]
    return [np.ascontiguousarray(image[:HEIGHT, :WIDTH]) for image in padded]


def rate(work: Callable[[int], object], clock: Callable[[], float] = time.process_time) -> float:
    """Number of times per second that ``work`` is done; it gets the number of the call."""
    work(0)
    done, started = 0, clock()
    while clock() - started < SECONDS:
        done += 1
        work(done)
    return done / (clock() - started)


def formats(folder: Path) -> Iterator[Row]:
    """Crops from each form: speed, size on disk, and bytes read per crop from a disk that is not cached."""
    images = photos()
    for name, (make, package) in FORMS.items():
        if package and find_spec(package) is None:
            print(f"{name} is left out: {package} is not installed")
            continue
        place = folder / str(len(list(folder.iterdir())))
        place.mkdir()
        read = make(place, images)
        cold = read_from_disk(place, partial(crop, read, len(images), 1))  # first, because mapped pages stay in memory
        speed = rate(partial(crop, read, len(images)))
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
        yield {
            "form": name,
            "samples_per_s": f"{speed:.1f}",
            "mb_per_image": f"{size / len(images) / 1e6:.2f}",
            "mb_read": f"{cold:.2f}",
            "needs": package,
        }


def crop(read: Read, count: int, k: int) -> torch.Tensor:
    """Random crop number ``k``, in [0, 1]."""
    random = np.random.default_rng(k)
    top, left = (int(random.integers(side - SIDE)) for side in (HEIGHT, WIDTH))
    pixels = read(k % count, top, left)
    return (pixels if isinstance(pixels, torch.Tensor) else torch.tensor(pixels)).to(torch.float32) / 255


def read_from_disk(folder: Path, work: Callable[[], object]) -> float:
    """MB read from disk by ``work`` after the folder's pages were evicted from memory; nan if unknown."""
    if not hasattr(os, "posix_fadvise") or not Path("/proc/self/io").exists():
        return float("nan")
    for file in folder.rglob("*"):
        if file.is_file():
            number = os.open(file, os.O_RDONLY)
            os.fsync(number)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(number)

    def so_far() -> int:
        lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(lines["read_bytes"])

    before = so_far()
    work()
    return (so_far() - before) / 1e6


def loaders(folder: Path) -> Iterator[Row]:
    """Training samples at scale 2 with prepared lq images: from PNGs (whole or cut), from memory, from the pack."""
    for k, image in enumerate(photos()):
        write_pair(folder / "whole", str(k), image)
        for n in range(2):
            write_pair(folder / "cut", f"{k}_{n}", image[:480, n * 480 : (n + 1) * 480])
    ways: dict[str, Row] = {
        "whole PNGs": {"root": "whole", "cache_gb": 0.0},
        "480 px PNGs": {"root": "cut", "cache_gb": 0.0},
        "decoded, in memory": {"root": "whole", "cache_gb": 4.0},
        "data.pack": {"root": "whole", "pack": str(folder / "pack")},
    }
    for name, settings in ways.items():
        root = str(folder / settings.pop("root") / "HR")
        data = SuperResolutionData(root=root, scale=2, patch_size=SIDE, **settings)
        data.prepare()
        if name.endswith("PNGs"):
            data.decoded = Decoded()
        crops: Any = data.crops(10**6)
        row = {"source": name, "samples_per_s": f"{rate(crops.__getitem__):.1f}"}
        for workers in WORKERS:
            loader = DataLoader(crops, batch_size=16, num_workers=workers, worker_init_fn=one_thread)
            batches = iter(loader)
            row[f"workers_{workers}"] = f"{16 * rate(partial(following, batches), time.perf_counter):.1f}"
        yield row


def following(batches: Iterator[Any], _: int) -> Any:
    """The next batch."""
    return next(batches)


def write_pair(folder: Path, name: str, image: Pixels) -> None:
    """Write a PNG and its lq image."""
    for part, pixels in {"HR": image, "LR_bicubic/X2": image[::2, ::2]}.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / part / f"{name}.png")


class Decoded:
    """Decodes whole files for each sample with libspng, which is faster than the decoders of Pillow and OpenCV."""

    def get(self, key: Pair, decode: Callable[[Pair], DecodedPair]) -> DecodedPair:
        """The pair, decoded again."""
        import imagecodecs

        gt, lq = (torch.from_numpy(imagecodecs.spng_decode(file.read_bytes())).permute(2, 0, 1) for file in key.files)
        return DecodedPair(gt, lq, "prepared")

    def expect(self, crop: torch.Tensor) -> None:
        """It is in memory."""


def training(folder: Path) -> Iterator[Row]:
    """The default training from the pack: time per step for its samples, and one process compared with two."""
    photos_of = folder / "photos"
    photos_of.mkdir()
    for k, image in enumerate(photos()):
        Image.fromarray(image).save(photos_of / f"{k}.png")
    pack = folder / "pack"
    data = SuperResolutionData(root=str(photos_of), scale=2, pack=str(pack))
    data.prepare()
    crops: Any = data.crops(10**6)
    samples = 16 / rate(crops.__getitem__)
    ways = {"one process, 2 threads": ("trainer=cpu", "threads=2"), "two processes, 1 thread": TWO}
    for name, words in ways.items():
        settings = [f"data.root={photos_of}", f"data.pack={pack}", "data=sr_folder", "data.num_workers=0"]
        short = [f"trainer.max_steps={STEPS}", f"val_every_steps={STEPS}", "data.val_limit=1", "callbacks.panels=null"]
        place = folder / name.partition(" ")[0]
        every = ["trainer.log_every_n_steps=1", "trainer.precision=32-true", f"hydra.run.dir={place}"]
        run("restore.fit", *words, *settings, *short, *every)
        yield {"training": name, "ms_of_samples": f"{1e3 * samples:.1f}"} | speeds(place)


def speeds(folder: Path) -> Row:
    """Medians from a run's log, without its first quarter."""
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("samples_per_s")]
    rows = rows[len(rows) // 4 :]
    found = {key: median(float(row[key]) for row in rows) for key in ("samples_per_s", "data_share")}
    return {key: f"{value:.3f}" for key, value in found.items()}


def start(folder: Path) -> Iterator[Row]:
    """Seconds until a training on very many tiny files begins."""
    root = folder / "many"
    root.mkdir()
    Image.fromarray(photos()[0][:16, :16]).save(root / "0.png")
    content = (root / "0.png").read_bytes()
    for k in range(1, FILES):
        (root / f"{k}.png").write_bytes(content)
    for name, pack in {"from files": None, "packing": "pack", "from the pack": "pack"}.items():
        started = time.process_time()
        data = SuperResolutionData(root=str(root), scale=2, patch_size=16, pack=pack and str(folder / pack))
        data.prepare()
        yield {"start": name, "files": len(data.train_pairs), "seconds": f"{time.process_time() - started:.1f}"}


PARTS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "formats": formats,
    "loaders": loaders,
    "training": training,
    "start": start,
}

if __name__ == "__main__":
    main()
