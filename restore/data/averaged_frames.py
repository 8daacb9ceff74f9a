"""Pairs for deblurring from a sharp high-speed video, made as GoPro was: neighbouring frames are averaged.

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
    """The images of a folder, ordered by the numbers in their names.

    Args:
        frames: minimum number of images.

    Raises:
        SettingError: no such folder, or too few images. DataProblem: two images of the same name.
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
    """Refuse to mix the new pairs with existing pairs of another length or video.

    Raises:
        SettingError: one of the output folders contains files.
    """
    used = [folder / part for part in ("blur", "sharp") if (folder / part).is_dir() and any((folder / part).iterdir())]
    if used:
        raise SettingError("output", used[0], "a folder without files", f"name another output, or remove {folder}")


def check_frames(files: list[Path]) -> None:
    """Read every frame first, so that nothing is written if one of them cannot be read.

    Raises:
        DataProblem: frames are damaged, or differ in size from the first.
    """

    def size(file: Path) -> tuple[int, ...] | str:
        try:
            return tuple(reading.read_rgb8(file).shape[1:])
        except (ValueError, OSError) as error:
            return str(error)

    with ThreadPoolExecutor() as pool:  # decoding releases the GIL
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
    """Write ``blur`` and ``sharp`` under ``folder``: one pair per run of frames, named after its middle frame.

    The pairs appear together once all are made, because they are written to a temporary folder first. Remains of a call
    that was killed are removed.
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
    """Average in linear light, because a sensor adds up light."""
    frames = [to_float(reading.read_rgb8(file)) for file in run]
    blurred = torch.stack(frames).pow(GAMMA).mean(0).pow(1 / GAMMA)
    name = f"{run[len(run) // 2].stem}.png"
    writing.write(folder / "blur" / name, DecodedImage.of(blurred))
    writing.write(folder / "sharp" / name, DecodedImage.of(frames[len(run) // 2]))
