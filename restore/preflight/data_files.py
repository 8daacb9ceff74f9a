"""The files of a run: opened as in ``fit``, described, and reduced to the few images that a dry run validates."""

import io
import math
from contextlib import redirect_stdout
from pathlib import Path

from rich.filesize import decimal

from restore.data.base import PairedData
from restore.data.file_checks import Checked
from restore.data.known_sets import miscounted
from restore.data.pair import Pair
from restore.io.wording import counted
from restore.preflight.findings import Findings
from restore.training.dry_run import keep_largest
from restore.training.forecast import Rest
from restore.training.parts import Data


def open_files(data: Data, limit: int | None, *, known_counts: bool, findings: Findings) -> Rest:
    """Open every file, and keep the ``IMAGES`` largest of each validation and test set.

    Args:
        limit: open only so many pairs of each set, evenly spread; None for all.
        known_counts: whether a set with a published name must have the published number of images.

    Raises:
        DataProblem: lists all problems.
    """
    if not isinstance(data, PairedData):
        data.prepare()
        findings.add("data", f"{data.stem}, {data.image.shape[2]}x{data.image.shape[1]} px")
        return Rest()
    sets = {"training": data.train_pairs, **data.test_sets}
    opened = {name: _spread(pairs, limit or len(pairs)) for name, pairs in sets.items()}
    data.train_pairs, data.test_sets = opened["training"], {name: opened[name] for name in data.test_sets}
    with redirect_stdout(io.StringIO()):  # its warnings become findings
        data.prepare()
    data.train_pairs = sets["training"]
    if limit is not None:
        data.warnings = data.compare_sets(data.checked)  # for the whole training set
    for name, pairs in sets.items():
        findings.add(f"data: {name}", _describe(data.checked[name], pairs))
    remedy = "; complete it, or set check.known_counts=false if it is deliberately incomplete" if known_counts else ""
    if data.pack is not None:
        size = sum(file.stat().st_size for file in Path(data.pack).iterdir())
        findings.add("data: pack", f"{data.pack}, {decimal(size)}: fit will read the training images from it")
    for text in miscounted(pair for pairs in sets.values() for pair in pairs):
        findings.add("data", text + remedy, "bad" if known_counts else "warning")
    for text in data.warnings:
        findings.add("data", text, "warning")
    if data.pack is not None:  # crops of pairs that are not packed yet would include the time of decoding
        data.train_pairs = opened["training"]
    kept = data.cache.kept_bytes
    cached = int(min(kept * len(sets["training"]) / len(opened["training"]), kept + data.cache.room))
    files = sum(map(len, sets.values())) / sum(map(len, opened.values()))
    validation, test = _keep_largest(data, {name: len(pairs) for name, pairs in sets.items()})
    return Rest(files, validation, test, cached - kept, 0.0 if limit else data.packing_seconds)


def _spread(pairs: list[Pair], limit: int) -> list[Pair]:
    return [pairs[k * (len(pairs) - 1) // (limit - 1)] for k in range(limit)] if len(pairs) > limit else pairs


def _describe(checked: Checked, pairs: list[Pair]) -> str:
    count, sizes = len(pairs), sorted(checked.sizes, key=math.prod)
    what = "pair" if any(pair.lq for pair in pairs) else "image"
    of_input = "" if what == "pair" else " with a computed input"
    px = " to ".join(dict.fromkeys(f"{width}x{height}" for height, width in (sizes[0], sizes[-1])))
    kinds = ", ".join(f"{number} {kind}" for kind, number in checked.kinds.items())
    opened = "" if len(sizes) == count else f"; {len(sizes)} of them opened"
    return f"{counted(count, what)}{of_input}, {px} px; files: {kinds}{opened}"


def _keep_largest(data: PairedData, counts: dict[str, int]) -> tuple[float, float]:
    """Ratio of the whole sets' pixels to those of the kept images: for validation, and for test."""
    opened = {name: len(pairs) for name, pairs in data.test_sets.items()}
    whole, kept = {}, {}
    for name, (pixels, kept[name]) in keep_largest(data).items():
        whole[name] = pixels * counts[name] / opened[name]
    of_validation = sum(whole[name] for name in data.validation_sets) / sum(kept[name] for name in data.validation_sets)
    return of_validation, sum(whole.values()) / sum(kept.values())
