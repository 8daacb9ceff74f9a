"""Parts of the embedded photos, under their names, in place of them: small trainings then validate in no time."""

import os
from pathlib import Path

from PIL import Image

from restore.data.embedded_photos import EMBEDDED, embedded

VARIABLE = "RESTORE_TEST_PHOTOS"  # names their folder to the processes that tests fork
BOX = (140, 100, 236, 196)  # px; left, top, right, bottom


def make(folder: Path) -> None:
    """Write them."""
    for name in EMBEDDED:
        (folder / name).mkdir()
        for source in embedded(name):
            with Image.open(source) as file:
                file.crop(BOX).save(folder / name / f"{source.stem}.png")


def made(folder: Path) -> dict[str, tuple[str, ...]]:
    """What takes the place of ``EMBEDDED``."""
    return {
        name: tuple(str(folder / name / f"{Path(file).stem}.png") for file in files) for name, files in EMBEDDED.items()
    }


def use() -> None:
    """In a process of its own."""
    if VARIABLE in os.environ:
        EMBEDDED.update(made(Path(os.environ[VARIABLE])))
