"""Opens the folders that `evaluate` scores on, each laid out as its protocol's family expects."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from restore.data.blur_sharp_folders import find_sequences, not_blurred, set_name, split_folder
from restore.data.checks import Checked, check_pairs
from restore.data.datasets import WholeImages
from restore.data.deblur import DeblurData
from restore.data.pairs import DataProblem, find_pairs
from restore.data.pairs import set_name as folder_name
from restore.data.translation_source import Source
from restore.inference.restorer import Restorer

log = logging.getLogger(__name__)

Benchmark = tuple[str, Callable[[], Checked], Any]  # name, the look at every file, the whole images


def open_benchmarks(
    roots: Sequence[str], restorer: Restorer, protocol_name: str, source: Callable[[], Source]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Find every benchmark's pictures, and look at each file.

    Args:
        roots: folders. restorer: whose scale and kind of input the pictures must have.
        protocol_name: its family says how a folder is laid out.
        source: says how translation pairs are read; called only for them.

    Returns:
        Whole images by name, and each benchmark's fingerprint.

    Raises:
        ValueError, FileNotFoundError, DataProblem: two folders of one name, another kind of scale, bad files.
    """
    kind = protocol_name.partition("_")[0]
    if kind != "sr" and restorer.scale != 1:
        raise ValueError(
            f"protocol={protocol_name} is one of pictures that keep their size, but the scale is {restorer.scale:g}, "
            "expected 1; set protocol=sr_y"
        )
    if kind == "sr" and restorer.scale == 1:
        raise ValueError(
            f"protocol={protocol_name} shrinks sharp pictures by the scale, which is 1, so that they would be scored "
            "against themselves; set protocol=deblur_rgb, or leave it out"
        )
    find = {"sr": _find_small, "deblur": _find_blurred, "translation": _find_translated}[kind]
    sets: dict[str, Any] = {}
    fingerprint, problems = {}, []
    for root in roots:
        try:
            name, check, images = find(root, restorer, source)
            if name in sets:
                raise ValueError(f"benchmarks names two folders called {name}; rename one, it stands in the tables")
            sets[name] = images
            checked = check()
            fingerprint[name] = checked.fingerprint
            if kind == "deblur" and checked.sharper:
                log.warning(not_blurred(name, checked.sharper, len(images)))
        except DataProblem as error:
            problems += error.problems
    if problems:
        raise DataProblem("benchmarks", problems)
    return sets, fingerprint


def _find_small(root: str, restorer: Restorer, source: Callable[[], Source]) -> Benchmark:
    scale = int(restorer.scale)
    pairs = find_pairs(root, scale, setting="benchmarks")
    reason = "crop_border leaves less than SSIM's window of a smaller one"

    def check() -> Checked:
        return check_pairs(pairs, scale, smallest_gt=2 * scale + 11, reason=reason, setting="benchmarks")

    return folder_name(root), check, WholeImages(pairs, scale=scale)


def _find_blurred(root: str, restorer: Restorer, source: Callable[[], Source]) -> Benchmark:
    folder = split_folder(root, ("test",))
    pairs = find_sequences(folder, setting="benchmarks")
    least, reason = DeblurData.smallest_whole

    def check() -> Checked:
        return check_pairs(pairs, 1, smallest_gt=least, reason=reason, setting="benchmarks")

    return set_name(str(folder)), check, WholeImages(pairs, scale=1)


def _find_translated(root: str, restorer: Restorer, source: Callable[[], Source]) -> Benchmark:
    opened = source()
    name, pairs = opened.layout.find(root, ("test",), setting="benchmarks")
    return name, lambda: opened.check(pairs, setting="benchmarks"), opened.images(pairs)
