"""The files of a run: opened as ``fit`` does, described, and cut to the few images that a dry run validates."""

import math
from dataclasses import dataclass

from restore.data.base import PairedData
from restore.data.checks import Checked
from restore.data.known_sets import miscounted
from restore.data.pairs import Pair
from restore.preflight.dry_run import IMAGES, quiet
from restore.preflight.report import Finding
from restore.training.train import Data


@dataclass(frozen=True)
class Files:
    """The opened files of a run.

    Attributes:
        findings: one for each set, and one for each oddity.
        total_per_opened: number of all pairs / number of pairs that were opened.
        validation, test: how many times the pixels of the dry run's images the whole sets have.
        uncached_bytes: memory that decoded training images will take beyond those that were opened.
    """

    findings: list[Finding]
    total_per_opened: float = 1.0
    validation: float = 1.0
    test: float = 1.0
    uncached_bytes: int = 0


def open_files(data: Data, limit: int | None, *, known_counts: bool) -> Files:
    """Open every file, and keep up to ``IMAGES`` of each validation and test set, the largest among them.

    Args:
        limit: open so many pairs of each set only, evenly spread; None for all.
        known_counts: whether a set with a published name must have the published number of images.

    Raises:
        DataProblem: with all bad files.
    """
    if not isinstance(data, PairedData):
        data.prepare()
        height, width = data.image.shape[1:]
        return Files([Finding("data", f"{data.stem}, {width}x{height} px")])
    sets = {"training": data.train_pairs, **data.test_sets}
    counts = {name: len(pairs) for name, pairs in sets.items()}
    opened = {name: _spread(pairs, limit or len(pairs)) for name, pairs in sets.items()}
    data.train_pairs = opened["training"]
    data.test_sets = {name: opened[name] for name in data.test_sets}
    with quiet():  # its warnings become findings
        data.prepare()
    data.train_pairs = sets["training"]
    if limit is not None:
        data.warnings = data.compare_sets(data.checked)  # now of the whole training set
    findings = [Finding(f"data: {name}", _describe(data.checked[name], sets[name])) for name in sets]
    remedy = "; complete it, or set check.known_counts=false if it is a part on purpose" if known_counts else ""
    for text in miscounted(pair for pairs in sets.values() for pair in pairs):
        findings.append(Finding("data", text + remedy, "bad" if known_counts else "warning"))
    findings += [Finding("data", text, "warning") for text in data.warnings]
    kept, training = data.cache.kept_bytes, counts["training"] / len(opened["training"])
    uncached = int(min(kept * training, kept + data.cache.room) - kept)
    validation, test = _limit_images(data, counts)
    return Files(findings, sum(counts.values()) / sum(map(len, opened.values())), validation, test, uncached)


def _spread(pairs: list[Pair], limit: int) -> list[Pair]:
    return [pairs[k * (len(pairs) - 1) // (limit - 1)] for k in range(limit)] if len(pairs) > limit else pairs


def _describe(checked: Checked, pairs: list[Pair]) -> str:
    sizes = sorted(checked.sizes, key=math.prod)
    smallest, largest = (f"{width}x{height}" for height, width in (sizes[0], sizes[-1]))
    prepared, plural = sum(pair.lq is not None for pair in pairs), "" if len(pairs) == 1 else "s"
    what = f"pair{plural}" if prepared else f"image{plural} whose input is made"
    mixed = " and images" if 0 < prepared < len(pairs) else ""
    px = smallest if smallest == largest else f"{smallest} to {largest}"
    kinds = ", ".join(f"{number} {kind}" for kind, number in checked.kinds.items())
    opened = "" if len(sizes) == len(pairs) else f"; {len(sizes)} of them opened"
    return f"{len(pairs)} {what}{mixed}, {px} px; files: {kinds}{opened}"


def _limit_images(data: PairedData, counts: dict[str, int]) -> tuple[float, float]:
    """How many times the pixels of the chosen images the whole sets have: validation, test."""
    whole, chosen = {}, {}
    for name, pairs in data.test_sets.items():
        pixels = [height * width for height, width in data.checked[name].sizes]
        whole[name] = sum(pixels) * counts[name] / len(pixels)
        order = sorted(range(len(pixels)), key=lambda k: -pixels[k])
        kept = order[:: max(1, (len(order) - 1) // (IMAGES - 1))][:IMAGES]
        data.test_sets[name] = [pairs[k] for k in kept]
        chosen[name] = sum(pixels[k] for k in kept)
    names = list(data.validation_sets)
    data.validation_sets = {name: data.test_sets[name] for name in names}
    of_validation = sum(whole[name] for name in names) / sum(chosen[name] for name in names)
    return of_validation, sum(whole.values()) / sum(chosen.values())
