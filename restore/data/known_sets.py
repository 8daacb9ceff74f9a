"""Numbers of images in published sets, to notice an incomplete download before it changes a score."""

from collections.abc import Iterable
from pathlib import Path

from restore.data.image_folders import image_files
from restore.data.pair import Pair
from restore.io.wording import counted

# folder name in lower case -> number of images, or a number for each split
KNOWN: dict[str, int | dict[str, int]] = {
    "div2k_train_hr": 800,
    "div2k_valid_hr": 100,
    "flickr2k_hr": 2650,
    "set5": 5,
    "set14": 14,
    "bsd100": 100,
    "b100": 100,
    "urban100": 100,
    "manga109": 109,
    "gopro": {"train": 2103, "test": 1111},
    "gopro_large": {"train": 2103, "test": 1111},
    "facades": {"train": 400, "val": 100, "test": 106},
}


def miscounted(pairs: Iterable[Pair]) -> list[str]:
    """A sentence for each folder that has the name of a known set but another number of images.

    Counts all files in the folders of the sharp images, because the pairs may lack images that are held out.
    """
    found: dict[str, tuple[int, int]] = {}
    for folder in dict.fromkeys(pair.gt.parent.resolve() for pair in pairs):
        for part, expected in _known(folder):
            if str(part) not in found:
                found[str(part)] = _count(part, folder), expected
    return [
        f"{part} holds {counted(count, 'image')}, the published set has {expected}"
        for part, (count, expected) in found.items()
        if count != expected
    ]


def _known(folder: Path) -> Iterable[tuple[Path, int]]:
    """The split of a known set that contains ``folder``, and its number of images."""
    for place in (folder, *folder.parents):
        known = KNOWN.get(place.name.lower())
        if isinstance(known, int):
            yield place, known
            return
        split = folder.relative_to(place).parts[:1]
        if known is not None and split and split[0] in known:
            yield place / split[0], known[split[0]]
            return


def _count(part: Path, folder: Path) -> int:
    """Number of images in ``folder`` and in the folders at the same position in other sequences of ``part``."""
    inside = folder.relative_to(part).parts
    pattern = "/".join([*["*"] * (len(inside) - 1), *inside[-1:]])
    return sum(len(image_files(each)) for each in (part.glob(pattern) if pattern else [part]) if each.is_dir())
