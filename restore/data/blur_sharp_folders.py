"""Finds pairs of blurred and sharp images; a split never divides the frames of one sequence.

Folder layouts of deblurring data (motion blur or defocus)::

    <root>/{train,val,test}/<sequence>/{blur,sharp}/*.png         (GoPro)
    <root>/{train,val,test}/{input,target}/*.png

``root`` may also be one of the split folders, or one sequence. Neighbouring frames are near-duplicates, so whole
sequences are held out; the images of one ``{input,target}`` folder count as one sequence.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from restore.data.image_folders import by_number, image_files, refuse_same_stem
from restore.data.pair import DataProblem, Pair
from restore.io.errors import SettingError

LAYOUTS = (("blur", "sharp"), ("input", "target"))
SPLITS = ("train", "val", "test")


def set_name(root: str) -> str:
    """The set's name in logs and tables: the folder's name, preceded by its parent's if the folder is a split."""
    folder = Path(root).resolve()
    return f"{folder.parent.name}_{folder.name}" if folder.name in SPLITS else folder.name


def split_folder(root: str, splits: Sequence[str]) -> Path:
    """The first of the split folders that exists under ``root``, or ``root`` itself."""
    return next((Path(root) / split for split in splits if (Path(root) / split).is_dir()), Path(root))


def _layouts(folder: Path) -> list[tuple[Path, Path]]:
    """The pairs of folders in ``folder``; one folder of a pair may be missing."""
    found = [(folder / lq, folder / gt) for lq, gt in LAYOUTS]
    return [pair for pair in found if any(each.is_dir() for each in pair)]


def is_paired(folder: Path) -> bool:
    """Whether the folder has one of the layouts described above."""
    return folder.is_dir() and any(_layouts(each) for each in (folder, *folder.glob("*/")))


def find_sequences(folder: Path, *, setting: str) -> list[Pair]:
    """The pairs of a split folder or a sequence, ordered by the numbers in the names of sequences and frames.

    Args:
        setting: name of the setting, for errors.

    Raises:
        SettingError: no such folder.
        DataProblem: no images, a folder that is not a sequence beside others that are, or two frames of the same name.
            Missing partners are reported by ``check_pairs``, not here.
    """
    if not folder.is_dir():
        raise SettingError(setting, folder, "a folder of blurred and sharp images")
    pairs = _frames(folder, set_name(str(folder)), "", setting)
    found = {each: _frames(each, each.name, f"{each.name}/", setting) for each in _folders(folder)}
    pairs += [pair for own in found.values() for pair in own]
    expected = "{blur,sharp} or {input,target} with images"
    if not pairs:
        remedy = "; data=synthetic_blur needs none" if setting.startswith("data.") else ""  # evaluate has no such data
        raise DataProblem(setting, [f"{folder} holds no pairs, expected <sequence>/{expected}{remedy}"])
    # other folders may lie beside the two folders of a sequence, such as GoPro's blur_gamma
    unread = [] if _layouts(folder) else [each for each, own in found.items() if not own and _holds_something(each)]
    if unread:
        raise DataProblem(setting, [f"{each} holds no pairs, expected {expected} in each sequence" for each in unread])
    return pairs


def _folders(folder: Path) -> list[Path]:
    inside = (each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    return sorted(inside, key=lambda each: by_number(each.name))


def _holds_something(folder: Path) -> bool:
    return bool(image_files(folder) or _folders(folder))


def _frames(folder: Path, sequence: str, prefix: str, setting: str) -> list[Pair]:
    pairs: list[Pair] = []
    for folders in _layouts(folder):
        files = [image_files(each) if each.is_dir() else [] for each in folders]
        for each in files:
            refuse_same_stem(each, setting)
        blurred, sharp = ({file.stem: file for file in each} for each in files)
        for stem in sorted(blurred.keys() | sharp.keys(), key=by_number):
            gt = sharp.get(stem) or folders[1] / blurred[stem].name
            pairs.append(Pair(f"{prefix}{stem}", gt, blurred.get(stem) or folders[0] / gt.name, sequence))
    first: dict[str, Pair] = {}
    same = ((pair, first.setdefault(pair.name, pair)) for pair in pairs)
    twice = [f"{pair.gt}: has the name of {other.gt}" for pair, other in same if other is not pair]
    if twice:
        raise DataProblem(setting, twice)
    return pairs


def hold_out_sequences(pairs: Sequence[Pair], count: int) -> tuple[list[Pair], list[Pair]]:
    """Training pairs, and the pairs of the last ``count`` sequences; a single image counts as a sequence.

    Raises:
        SettingError: the set has no more than ``count`` sequences.
    """
    names = list(dict.fromkeys(_sequence(pair) for pair in pairs))
    if len(names) < 2:
        raise SettingError(
            "data.validation",
            count,
            f"a folder, because data.root holds the one sequence {_name(pairs[0])}, whose frames are near-duplicates",
            "set data.validation=last_frames to hold out its last frames anyway",
        )
    if not 1 <= count < len(names):
        raise SettingError(
            "data.validation",
            count,
            f"a folder, last_frames, or 1 to {len(names) - 1} of the {len(names)} sequences in data.root to hold out",
        )
    held_out = set(names[-count:])
    return (
        [pair for pair in pairs if _sequence(pair) not in held_out],
        [pair for pair in pairs if _sequence(pair) in held_out],
    )


def hold_out_frames(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Training pairs, and the last tenth (at least one) of the frames of each sequence that has several.

    Raises:
        SettingError: no sequence has several frames.
    """
    train: list[Pair] = []
    held_out: list[Pair] = []
    sequences: dict[tuple[Path, str], list[Pair]] = {}
    for pair in pairs:
        sequences.setdefault(_sequence(pair), []).append(pair)
    for own in sequences.values():
        count = max(1, len(own) // 10) if len(own) > 1 else 0
        train += own[: len(own) - count]
        held_out += own[len(own) - count :]
    if not held_out:
        raise SettingError(
            "data.validation",
            "last_frames",
            "a folder or a number of sequences, because no sequence in data.root has more than one frame",
        )
    return train, held_out


def _name(pair: Pair) -> str:
    return pair.sequence or str(pair.gt)


def _sequence(pair: Pair) -> tuple[Path, str]:
    """Identifies the pair's sequence; two roots may each contain one of the same name."""
    return pair.gt.parent.parent.resolve(), _name(pair)


def shared_sequences(sets: Mapping[str, Sequence[Pair]]) -> list[str]:
    """One warning per sequence whose name occurs in several sets."""
    where: dict[str, list[str]] = {}
    for name, pairs in sets.items():
        for sequence in dict.fromkeys(pair.sequence for pair in pairs if pair.sequence):
            where.setdefault(sequence, []).append(name)
    return [
        f"sequence {sequence} is in {' and in '.join(names)}: its frames are near-duplicates, so scores are optimistic"
        for sequence, names in where.items()
        if len(names) > 1
    ]


def not_blurred(name: str, sharper: Sequence[Pair], count: int) -> str:
    """A warning about a set of ``count`` pairs in some of which lq is as sharp as gt."""
    return (
        f"{name}: {len(sharper)} of {count} blurred images are as sharp as the sharp ones or sharper, the first is "
        f"{sharper[0].lq}; check that the folders are not swapped, and hold no copies"
    )
