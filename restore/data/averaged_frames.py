"""Pairs for deblurring from the frames of a sharp, fast video: neighbouring frames are averaged, as GoPro was made.

Nah, Kim, Lee, "Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring", CVPR 2017, section 2.
"""

import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch

from restore.data.image_folders import by_number, image_files, refuse_same_stem
from restore.data.pair import DataProblem
from restore.degradations.motion_blur import GAMMA
from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage, to_float
from restore.image.formats import SUFFIXES
from restore.io.errors import SettingError


def video_frames(source: Path, frames: int) -> list[Path]:
    """The images of a folder in the order of the numbers in their names.

    Args:
        frames: how many are needed at least.

    Raises:
        SettingError: no folder, or too few. DataProblem: two images of one name.
    """
    if not source.is_dir():
        expected = "a folder with the frames of one video as images, numbered in their names"
        raise SettingError("input", source, expected)
    files = sorted(image_files(source), key=lambda file: by_number(file.name))
    if len(files) < frames:
        kinds = ", ".join(SUFFIXES)
        expected = f"a folder of at least frames={frames} images ({kinds}), but it holds {len(files)}"
        raise SettingError("input", source, expected, "set frames lower" if len(files) >= 3 else "name another folder")
    refuse_same_stem(files, "input")
    return files


def refuse_used(folder: Path) -> None:
    """Raise where pairs of another length, or of another video of the same name, would be mixed with the new ones.

    Raises:
        SettingError: the folder of a part holds files.
    """
    used = [folder / part for part in ("blur", "sharp") if (folder / part).is_dir() and any((folder / part).iterdir())]
    if used:
        raise SettingError("output", used[0], "a folder without files", f"name another output, or remove {folder}")


def check_frames(files: list[Path]) -> None:
    """Read every frame, so that no pair is written where a later one fails.

    Raises:
        DataProblem: damaged frames, or frames of another size than the first.
    """

    def size(file: Path) -> tuple[int, ...] | str:
        try:
            return tuple(reading.read_rgb8(file).shape[1:])
        except (ValueError, OSError) as error:
            return str(error)

    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter's lock
        sizes = list(pool.map(size, files))
    problems = [each for each in sizes if isinstance(each, str)]
    expected = next((each for each in sizes if not isinstance(each, str)), ())
    for file, each in zip(files, sizes, strict=True):
        if not isinstance(each, str) and each != expected:
            got, wanted = (f"{width}x{height}" for height, width in (each, expected))
            problems.append(f"{file} has {got} px, expected {wanted} px as the first frame")
    if problems:
        raise DataProblem("input", problems)


def write_pairs(runs: Iterable[list[Path]], folder: Path) -> None:
    """Write ``folder``'s ``blur`` and ``sharp``, a pair for each run of frames, named after the frame in its middle.

    The pairs appear together, when all are made: they are written to a folder of a temporary name. What a call that was
    killed left under that name is removed.
    """
    with _moved_when_complete(folder) as made:
        for run in runs:
            _write_pair(run, made)


@contextmanager
def _moved_when_complete(folder: Path) -> Iterator[Path]:
    made = folder.parent / f".{folder.name}.unfinished"
    shutil.rmtree(made, ignore_errors=True)
    try:
        yield made
        folder.mkdir(parents=True, exist_ok=True)
        for part in sorted(made.iterdir()):
            part.replace(folder / part.name)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write_pair(run: list[Path], folder: Path) -> None:
    """Average in linear light, as light adds up on a sensor."""
    frames = [to_float(reading.read_rgb8(file)) for file in run]
    blurred = torch.stack(frames).pow(GAMMA).mean(0).pow(1 / GAMMA)
    name = f"{run[len(run) // 2].stem}.png"
    writing.write(folder / "blur" / name, DecodedImage.of(blurred))
    writing.write(folder / "sharp" / name, DecodedImage.of(frames[len(run) // 2]))
