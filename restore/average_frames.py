"""``restore average_frames``: sharp frames of a fast video to blurred and sharp pairs, as GoPro was made.

Nah, Kim, Lee, "Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring", CVPR 2017, section 2.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from restore.config.command import command
from restore.config.errors import UserError
from restore.io.files import refuse_unwritable

log = logging.getLogger(__name__)


def average_frames(cfg: DictConfig) -> None:
    """Average each run of neighbouring frames, and put it beside the one in its middle."""
    from rich.progress import track

    if cfg.frames < 3 or cfg.frames % 2 == 0:
        raise UserError(f"frames is {cfg.frames}, expected an odd number of at least 3, so that one is in the middle")
    source, target = Path(cfg.input).resolve(), Path(cfg.output).resolve()
    folder = target / source.name
    if folder == source or source in folder.parents:
        raise UserError(f"output: {target} would put the pairs into the input {source}; name another folder")
    _refuse_used(folder)
    files = _frames(source, cfg.frames)
    _check(files)
    refuse_unwritable(folder)
    runs = [files[k : k + cfg.frames] for k in range(0, len(files) - cfg.frames + 1, cfg.frames)]
    with _moved_when_whole(folder) as made:
        for run in track(runs, source.name, transient=True):
            _write_pair(run, made)
    left = len(files) - len(runs) * cfg.frames
    log.info("%d pairs, %d frames left over at the end: %s", len(runs), left, folder)


@contextmanager
def _moved_when_whole(folder: Path) -> Iterator[Path]:
    """A folder of a temporary name, whose parts are moved into ``folder`` at the end: half a clip is never seen there.

    What a call that was killed left under that name is removed, so the same command makes it anew.
    """
    made = folder.parent / f".{folder.name}.unfinished"
    shutil.rmtree(made, ignore_errors=True)
    try:
        yield made
        folder.mkdir(parents=True, exist_ok=True)
        for part in sorted(made.iterdir()):
            part.replace(folder / part.name)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _frames(source: Path, frames: int) -> list[Path]:
    from restore.data.pairs import by_number, image_files, refuse_same_stem
    from restore.image.formats import SUFFIXES

    if not source.is_dir():
        raise UserError(
            f"input: {source} is not a folder, expected the frames of one video as pictures, numbered in their names"
        )
    files = sorted(image_files(source), key=lambda file: by_number(file.name))
    if len(files) < frames:
        kinds = ", ".join(SUFFIXES)
        raise UserError(f"input: {source} holds {len(files)} pictures ({kinds}), expected at least frames={frames}")
    refuse_same_stem(files, "input")
    return files


def _refuse_used(folder: Path) -> None:
    """Pairs of another length, or of another video of the same name, would mix with those that lie there."""
    used = [folder / part for part in ("blur", "sharp") if (folder / part).is_dir() and any((folder / part).iterdir())]
    if used:
        raise UserError(f"output: {used[0]} already holds files; name another output, or remove {folder}")


def _check(files: list[Path]) -> None:
    """Look at every frame, so that no pair is written where a later one fails."""
    from concurrent.futures import ThreadPoolExecutor

    from restore.data.pairs import DataProblem
    from restore.image import reading

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
            got, wanted = ("x".join(map(str, sides)) for sides in (each, expected))
            problems.append(f"{file} has {got} px, expected {wanted} px as the first frame")
    if problems:
        raise DataProblem("input", problems)


def _write_pair(run: list[Path], folder: Path) -> None:
    """Average in linear light, as light adds up on a sensor."""
    import torch

    from restore.degradations.motion_blur import GAMMA
    from restore.image import reading, writing
    from restore.image.picture import Picture, to_float

    frames = [to_float(reading.read_rgb8(file)) for file in run]
    blurred = torch.stack(frames).pow(GAMMA).mean(0).pow(1 / GAMMA)
    name = f"{run[len(run) // 2].stem}.png"
    writing.write(folder / "blur" / name, Picture.of(blurred))
    writing.write(folder / "sharp" / name, Picture.of(frames[len(run) // 2]))


main = command(average_frames, "average_frames")

if __name__ == "__main__":
    main()
