"""Finds the image pairs of a super-resolution data set folder.

Pairs for deblurring are found by :mod:`restore.data.blur_sharp_folders`, those for translation by
:mod:`restore.data.ab_folders`.

Folder layouts of super-resolution data::

        <set>/HR/*.png                  optional: <set>/LR_bicubic/X2/<same name, or namex2>.png; other spellings, such
                                        as lr_bicubic/x2 or LR_x2, are accepted with a warning
        <...>_HR/*.png                  optional: <..._LR_bicubic>/X2/...          (DIV2K, Flickr2K)
        <root>/*_train_HR, *_valid_HR   both parts of such a set under one root
        <folder>/*.png                  sharp images only; lq is made by bicubic downscaling
    photos_train, photos_held_out   embedded images (:mod:`restore.data.embedded_photos`)
"""

import logging
import re
from pathlib import Path

from restore.data.embedded_photos import EMBEDDED, embedded
from restore.data.image_folders import image_files, passed_over, refuse_same_stem
from restore.data.pair import DataProblem, Pair
from restore.data.setting_bounds import refuse_missing_folder
from restore.image.formats import SUFFIXES
from restore.io.files import printable

log = logging.getLogger(__name__)


def set_name(root: str) -> str:
    """The set's name in logs and tables: the folder's name."""
    return printable(Path(root).resolve().name) if root not in EMBEDDED else root


def find_pairs(root: str, scale: int, *, setting: str = "data.root") -> list[Pair]:
    """The pairs under ``root``, sorted by name.

    Args:
        setting: name of the setting, for errors.

    Raises:
        SettingError: no such folder.
        DataProblem: no images, or two of the same name. Missing partners are reported by ``check_pairs``, not here.
    """
    if root in EMBEDDED:
        return [Pair(file.stem, file) for file in embedded(root)]
    sharp, prepared = _folders(Path(root), scale, setting)
    files = image_files(sharp)
    others = passed_over(sharp.iterdir())
    if others:
        log.warning("%s: skipped (unsupported format): %s; convert them to PNG", sharp, others)
    if not files:
        raise DataProblem(setting, [f"{sharp} holds no image ({', '.join(SUFFIXES)})"])
    refuse_same_stem(files, setting)
    if prepared is None:
        return [Pair(file.stem, file) for file in files]
    small = image_files(prepared)
    refuse_same_stem(small, setting)
    partners = {file.stem: file for file in small}
    return [
        Pair(f.stem, f, partners.get(f.stem) or partners.get(f"{f.stem}x{scale}") or prepared / f.name) for f in files
    ]


def _folders(root: Path, scale: int, setting: str) -> tuple[Path, Path | None]:
    """The folder of sharp images, and the folder of prepared lq images if it exists."""
    refuse_missing_folder(str(root), setting)
    parts = sorted(root.glob("*_train_HR"))
    if parts:
        root = parts[0]
    inside = next((each for each in _subfolders(root) if each.name.lower() == "hr"), None)
    if inside is not None:
        return inside, _prepared(inside, scale)
    return root, _prepared(root, scale) if root.name == "HR" or root.name.endswith("_HR") else None


def _prepared(sharp: Path, scale: int) -> Path | None:
    """The prepared lq images of a folder ``[<set>_]HR``: ``[<set>_]LR_bicubic/X<scale>``, or a likely misspelling.

    If there are none, a warning names other image folders beside ``sharp``, which may have been meant.
    """
    prefix = sharp.name[:-2]
    exact = sharp.with_name(f"{prefix}LR_bicubic") / f"X{scale}"
    if exact.is_dir():
        return exact
    beside = [each for each in _subfolders(sharp.parent) if each != sharp and each.name.startswith(prefix)]
    folders = [each for folder in beside for each in (folder, *_subfolders(folder)) if image_files(each)]
    spellings = [f"{name}x{scale}" for name in ("lrbicubic", "lrbic", "lr")]
    likely = [each for each in folders if _spelling(each, sharp.parent, prefix) in spellings]
    if len(likely) == 1:
        log.warning("%s is used as %s, the prepared small images of %s", likely[0], exact, sharp)
        return likely[0]
    if folders:
        names = ", ".join(str(each) for each in folders[:5]) + (", ..." if len(folders) > 5 else "")
        log.warning("%s has no %s, so the small images are made from it; not used: %s", sharp, exact, printable(names))
    return None


def _subfolders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _spelling(folder: Path, parent: Path, prefix: str) -> str:
    """Its path below ``parent`` without the set's name, reduced to lower-case letters and digits: ``lrbicubicx2``."""
    return re.sub(r"[^a-z0-9]", "", str(folder.relative_to(parent)).removeprefix(prefix).lower())
