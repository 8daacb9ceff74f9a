"""Pairs of input and output files of ``restore predict``: which files it reads, and the names of its results."""

import glob
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from restore.image.formats import HEAD, OTHER_SUFFIXES, READ_SUFFIXES, SUFFIXES, may_be_read, other_format
from restore.io.errors import SettingError
from restore.io.files import read_mapping
from restore.io.wording import counted

log = logging.getLogger(__name__)

RECORD = "predict.json"  # in an output folder: records how each file was made, so that an interrupted run can continue
_RESULT = re.compile(r"_(x\d+(\.\d+)?|restored)$")  # end of the stem of a result


def plan(
    source: str, output: str | None, scale: float = 1, *, format_: str | None = None, label: str | None = None
) -> list[tuple[Path, Path]]:
    """The output file for each input, ordered by the numbers in the names, so that video frames stay in order.

    Args:
        source: a file, a folder or a glob.
        output: a file or a folder, or None for a name next to the input.
        scale: the restorer's scale, which is part of the names.
        format_: ``png``, ``jpg``, ``webp``, ``tiff``, ``avif`` or ``heic``, unless ``output`` names a file; None means
            png.
        label: suffix of the stems; None means the scale, or ``restored`` at scale 1.

    Returns:
        (source, target) of each file, at least one.

    Raises:
        SettingError: no input, an output that is its own input or in a format that cannot be written, or two inputs
            with the same output.
    """
    label = label or (f"x{scale}" if scale > 1 else "restored")
    files, folder = _inputs(source, label)
    suffix = _suffix(format_)
    if output is None or Path(output).is_dir():
        is_file = False
    elif Path(output).suffix.lower() in OTHER_SUFFIXES:
        raise SettingError("output", output, f"a folder, or a file that ends in {', '.join(SUFFIXES)}")
    else:
        is_file = Path(output).suffix.lower() in SUFFIXES
    if is_file and format_ is not None and Path(str(output)).suffix.lower() != suffix:
        raise SettingError("format", format_, f"the ending of output={output}", "leave one of them out")
    if is_file:
        tasks = [(file, Path(str(output))) for file in files]
    else:
        tasks = [(file, (Path(output) if output else folder) / f"{file.stem}_{label}{suffix}") for file in files]
    _refuse_collisions(tasks)
    return tasks


def passed_over(source: str) -> str:
    """Counts images of a folder or glob in formats that cannot be read, by suffix; empty if there are none."""
    from restore.data import image_folders

    path = Path(source)
    return image_folders.passed_over(path.iterdir() if path.is_dir() else map(Path, glob.glob(source, recursive=True)))


def refuse_no_input(source: str) -> None:
    """Refuse an input that is no file, no folder and no matching glob, and a file that is not an image.

    Raises:
        SettingError
    """
    path = Path(source)
    if path.is_file():
        _refuse_other_file(path)
    if path.exists():
        return
    if glob.escape(source) == source:
        raise SettingError("input", source, "a file, a folder or a glob, but there is no such file or folder")
    if next(glob.iglob(source, recursive=True), None) is None:
        raise _no_image(source)


def _refuse_other_file(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise SettingError("input", path, "an image, but the file is empty")
    if not may_be_read(head):
        name = other_format(head)
        but = "" if name is None else f", but it is {name}"
        raise SettingError(
            "input", path, f"a PNG, JPEG, TIFF, WebP, BMP, AVIF or HEIC image{but}", "save it as one of these"
        )


def _no_image(source: str) -> SettingError:
    remedy = f"give a file, a folder or a glob ({', '.join(SUFFIXES)})"
    if "[" in source:
        remedy = f"{remedy}; in a glob, [ begins a set of characters: write [[] for a literal ["
    is_folder = Path(source).is_dir()
    inner = _folder_of_images_below(source) if is_folder else None
    if inner is not None:
        return SettingError(
            "input",
            source,
            f"images, but only folders within it hold any, such as {inner}, and these are not searched",
            f"restore each by itself, or give a glob: '{Path(source) / '**' / '*'}'",
        )
    return SettingError("input", source, f"images, but it {'holds' if is_folder else 'matches'} none", remedy)


def _folder_of_images_below(source: str) -> Path | None:
    """The first folder with images below ``source``, at any depth; None if there is none."""
    from restore.data.image_folders import image_files

    for folder, inner, _ in os.walk(source):
        inner.sort()
        if folder != source and image_files(Path(folder)):
            return Path(folder)
    return None


def _inputs(source: str, label: str) -> tuple[list[Path], Path]:
    """The input files in order, and the folder for their results."""
    from restore.data.image_folders import by_number, image_files

    path = Path(source)
    if path.is_file():
        files, folder = [path], path.parent
    elif path.is_dir():
        folder = path.resolve()  # "." has no name
        files, folder = _without_results(image_files(path)), folder.with_name(f"{folder.name}_{label}")
    else:
        met = [Path(p) for p in glob.glob(source, recursive=True)]
        folders = [] if "**" in source else [each for each in met if each.is_dir()]
        if folders:
            log.warning(
                "skipped: %s, such as %s; to restore one, pass it as input by itself",
                counted(len(folders), "folder"),
                folders[0],
            )
        files = _without_results([p for p in met if p.suffix.lower() in READ_SUFFIXES and not p.is_dir()])
        folder = Path(f"restored_{label}" if label.startswith("x") else label)
    if not files:
        refuse_no_input(source)
        raise _no_image(source)
    files.sort(key=lambda file: (str(file.parent), by_number(file.name)))
    return files, folder


def _without_results(files: Sequence[Path]) -> list[Path]:
    """Files that are not results of ``predict``, according to its record or to a name derived from another file."""
    stems = {(file.parent, file.stem) for file in files}
    made = set().union(*(_made_inside(folder) for folder in {file.parent for file in files}))
    named = {file for file in files if _RESULT.search(file.stem) and (file.parent, _RESULT.sub("", file.stem)) in stems}
    results = named | made & set(files)
    if results:
        log.info(
            "left out as results of predict: %d, such as %s; to restore one, pass it as input by itself",
            len(results),
            min(results),
        )
    return [file for file in files if file not in results]


def _made_inside(folder: Path) -> set[Path]:
    """Results stored beside their inputs; results of another folder's files may be restored further."""
    return {
        folder / name
        for name, entry in entries(folder / RECORD).items()
        if Path(str(entry["input"][0])).parent == folder.resolve()
    }


def entries(record: Path) -> dict[str, Any]:
    """The entries of a ``predict.json`` by name of the result; contents that other programs wrote are ignored.

    Raises:
        ValueError: the file is not JSON.
    """
    known = read_mapping(record) if record.is_file() else {}
    return {
        name: entry
        for name, entry in known.items()
        if isinstance(entry, dict) and isinstance(entry.get("input"), list) and entry["input"]
    }


def _suffix(format_: str | None) -> str:
    known = ("png", "jpg", "webp", "tiff", "avif", "heic")
    if format_ not in (None, *known):
        raise SettingError("format", format_, ", ".join(known))
    return f".{format_ or 'png'}"


def _refuse_collisions(tasks: list[tuple[Path, Path]]) -> None:
    inputs = {source.resolve() for source, _ in tasks}
    seen: dict[Path, Path] = {}
    for source, target in tasks:
        if target.resolve() in inputs:
            raise SettingError(
                "output",
                target,
                "a file that is not an input, because it would be overwritten",
                "name another file or folder",
            )
        if target in seen:
            raise SettingError(
                "output",
                target,
                f"another file for each input, but {seen[target]} and {source} would both be written to it",
                "rename one, or restore them separately",
            )
        seen[target] = source
