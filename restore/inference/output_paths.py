"""Which picture becomes which file: what ``restore predict`` reads, and what it calls what it writes."""

import glob
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from restore.config.errors import UserError
from restore.image.formats import SUFFIXES
from restore.io.files import read_mapping

log = logging.getLogger(__name__)

RECORD = "predict.json"  # in an output folder: how each file was made, so that an interrupted run can go on
OTHER_SUFFIXES = (  # pictures too, but none that are written here
    *(".gif", ".apng", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".jfif", ".jpe", ".ico", ".tga", ".psd"),
    *(".exr", ".hdr", ".pbm", ".pgm", ".ppm", ".svg", ".pdf", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw"),
)
_RESULT = re.compile(r"_(x\d+(\.\d+)?|restored)$")  # how the stem of a result ends


def plan(source: str, output: str | None, scale: float, *, format_: str | None = None) -> list[tuple[Path, Path]]:
    """Which file becomes which, in the order of the numbers in their names, so that frames of a video stay in order.

    Args:
        source: a file, a folder or a glob.
        output: a file or a folder, or None for a name beside the input.
        format_: ``png``, ``jpg``, ``webp`` or ``tiff``, of outputs that ``output`` does not name; None for png.

    Raises:
        UserError: nothing to do, an output that is its own input or of a format that is not written, or two inputs for
            one output.
    """
    from restore.data.pairs import by_number, picture_files

    path, label = Path(source), f"x{scale}" if scale > 1 else "restored"
    if path.is_file():
        files, folder = [path], path.parent
    elif path.is_dir():
        folder = path.resolve()  # "." has no name
        files, folder = _without_results(picture_files(path)), folder.with_name(f"{folder.name}_{label}")
    else:
        named = [Path(p) for p in glob.glob(source, recursive=True) if Path(p).suffix.lower() in SUFFIXES]
        files = _without_results(named)
        folder = Path(f"restored_x{scale:g}" if scale > 1 else "restored")
    if not files and glob.escape(source) == source and not path.exists():
        raise UserError(f"input: {source}: no such file or folder")
    if not files:
        raise UserError(f"input: {source} matches no picture; give a file, a folder or a glob ({', '.join(SUFFIXES)})")
    files.sort(key=lambda file: (str(file.parent), by_number(file.name)))
    suffix = _suffix(format_)
    if output is not None and Path(output).suffix.lower() in OTHER_SUFFIXES and not Path(output).is_dir():
        raise UserError(f"output is {output}, expected a folder, or a file that ends in {', '.join(SUFFIXES)}")
    if output is not None and Path(output).suffix.lower() in SUFFIXES and not Path(output).is_dir():
        if format_ is not None and Path(output).suffix.lower() != suffix:
            raise UserError(f"format is {format_}, but output is {output}; leave one of them out")
        jobs = [(file, Path(output)) for file in files]
    else:
        jobs = [(file, (Path(output) if output else folder) / f"{file.stem}_{label}{suffix}") for file in files]
    _refuse_collisions(jobs)
    return jobs


def _without_results(files: Sequence[Path]) -> list[Path]:
    """Those that are no results of ``predict``: of its record, or named after another of the files as it names them."""
    stems = {(file.parent, file.stem) for file in files}
    made = set().union(*(_made_inside(folder) for folder in {file.parent for file in files}))
    named = {file for file in files if _RESULT.search(file.stem) and (file.parent, _RESULT.sub("", file.stem)) in stems}
    results = named | made & set(files)
    if results:
        log.info(
            "left out as results of predict: %d, such as %s; to restore one, name it alone",
            len(results),
            min(results),
        )
    return [file for file in files if file not in results]


def _made_inside(folder: Path) -> set[Path]:
    """Results that lie beside what they were made of; those of another folder may well be restored further."""
    return {
        folder / name
        for name, entry in entries(folder / RECORD).items()
        if Path(str(entry["input"][0])).parent == folder.resolve()
    }


def entries(record: Path) -> dict[str, Any]:
    """What a ``predict.json`` says of each result; what is no such entry, of somebody else's file, is left out.

    Raises:
        ValueError: it is no JSON.
    """
    known = read_mapping(record) if record.is_file() else {}
    return {
        name: entry
        for name, entry in known.items()
        if isinstance(entry, dict) and isinstance(entry.get("input"), list) and entry["input"]
    }


def _suffix(format_: str | None) -> str:
    known = {None: ".png", "png": ".png", "jpg": ".jpg", "webp": ".webp", "tiff": ".tiff"}
    if format_ not in known:
        raise UserError(f"format is {format_}, expected png, jpg, webp or tiff")
    return known[format_]


def _refuse_collisions(jobs: list[tuple[Path, Path]]) -> None:
    inputs = {source.resolve() for source, _ in jobs}
    seen: dict[Path, Path] = {}
    for source, target in jobs:
        if target.resolve() in inputs:
            raise UserError(f"output: {target} is an input and would be overwritten; name another file or folder")
        if target in seen:
            raise UserError(
                f"output: {seen[target]} and {source} would both become {target}; rename one, or restore them apart"
            )
        seen[target] = source
