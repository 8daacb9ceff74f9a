"""Opens the benchmark folders of `evaluate`, in the layout expected by the protocol's family."""

import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from restore.data.blur_sharp_folders import find_sequences, not_blurred, set_name, split_folder
from restore.data.datasets import WholeImages
from restore.data.embedded_photos import EMBEDDED
from restore.data.file_checks import Checked, check_pairs, smallest_scored
from restore.data.hr_lr_folders import find_pairs
from restore.data.hr_lr_folders import set_name as folder_name
from restore.data.pair import DataProblem
from restore.data.side_by_side import single_images
from restore.data.translation_dataset import TranslationSource
from restore.io.errors import SettingError
from restore.metrics.protocols import Protocol

log = logging.getLogger(__name__)

DEFAULT = "photos_held_out"  # of benchmarks in conf/evaluate.yaml


class _Benchmark(NamedTuple):
    """A benchmark: its name in tables, a function that checks all its files, and its whole images."""

    name: str
    check: Callable[[], Checked]
    images: Any


def open_benchmarks(
    roots: Sequence[str], scale: float, protocol: Protocol, source: Callable[[], TranslationSource]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Find the images of every benchmark, and check every file.

    Args:
        roots: folders, or names of embedded sets. scale: the restorer's.
        protocol: its family determines the folder layout.
        source: reads translation pairs; called only for these.

    Returns:
        Whole images by benchmark name, and fingerprints by benchmark name.

    Raises:
        SettingError, FileNotFoundError, DataProblem: two folders of the same name, a scale that the protocol does not
            score, or problems of files.
    """
    scale = _supported(scale, protocol)
    sets: dict[str, Any] = {}
    fingerprints, problems = {}, []
    for root in roots:
        try:
            name, check, images = _FINDERS[protocol.family](root, scale, source)
            if name in sets:
                raise SettingError(
                    "benchmarks",
                    f"{list(roots)}, two of them called {name}",
                    "folders with different names",
                    "rename one",
                )
            sets[name] = images
            fingerprints[name] = check().fingerprint
        except DataProblem as error:
            problems += error.problems
    if problems:
        raise DataProblem("benchmarks", problems)
    return sets, fingerprints


def _supported(scale: float, protocol: Protocol) -> int:
    """The scale as an integer for which the protocol is defined."""
    if scale != int(scale):
        raise SettingError("scale", f"{scale:g}", "a whole number, because protocols are defined for no other")
    if not protocol.enlarges and scale != 1:
        raise SettingError(
            "scale", scale, f"1, because protocol={protocol.name} compares images of one size", "set protocol=sr_y"
        )
    if protocol.enlarges and scale == 1:
        raise SettingError(
            "scale",
            scale,
            f"more than 1, because protocol={protocol.name} shrinks sharp images by it and would score them against "
            "themselves",
            "set protocol=deblur_rgb, or leave protocol out",
        )
    return int(scale)


def _find_sharp(root: str, scale: int, source: Callable[[], TranslationSource]) -> _Benchmark:
    pairs = find_pairs(root, scale, setting="benchmarks")

    def check() -> Checked:
        return check_pairs(pairs, scale, smallest=smallest_scored(crop_border=scale), setting="benchmarks")

    return _Benchmark(folder_name(root), check, WholeImages(pairs, scale=scale))


def _find_blurred(root: str, scale: int, source: Callable[[], TranslationSource]) -> _Benchmark:
    folder = split_folder(root, ("test",))
    pairs = find_sequences(folder, setting="benchmarks")
    name = set_name(str(folder))

    def check() -> Checked:
        checked = check_pairs(pairs, 1, smallest=smallest_scored(), setting="benchmarks")
        if checked.sharper:
            log.warning(not_blurred(name, checked.sharper, len(pairs)))
        return checked

    return _Benchmark(name, check, WholeImages(pairs, scale=1))


def _find_translated(root: str, scale: int, source: Callable[[], TranslationSource]) -> _Benchmark:
    opened = source()
    layout = opened.layout
    if root in EMBEDDED and not layout.is_made:  # not data=contours, as elsewhere: it is for weights trained with it
        raise SettingError(
            "benchmarks",
            f"{root} (the default)" if root == DEFAULT else root,
            "a folder of pairs of images for translation, but these are photos without partners",
            f"set benchmarks=[<folder>], a folder that holds {layout.folder_a} and {layout.folder_b} (data.folder_a, "
            "data.folder_b), and data= as in training",
        )
    name, pairs = layout.find(root, ("test",), setting="benchmarks")

    def check() -> Checked:
        checked = opened.check(pairs, setting="benchmarks")
        single = single_images(pairs)
        if single is not None:
            log.warning(single)
        return checked

    return _Benchmark(name, check, opened.images(pairs))


_FINDERS: Mapping[str, Callable[[str, int, Callable[[], TranslationSource]], _Benchmark]] = MappingProxyType(
    {"super_resolution": _find_sharp, "deblur": _find_blurred, "translation": _find_translated}
)
