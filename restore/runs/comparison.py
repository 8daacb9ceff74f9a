"""Compares runs: the settings that differ, the scores, and paired statistics over images."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from restore.io.tables import Table
from restore.runs.reader import Run
from restore.runs.results import DIGITS, SMALLER_IS_BETTER, paired

# settings that change no score: folder names and output
IGNORED = ("run_id", "run_token", "resume", "logger", "callbacks.progress")


def differing(runs: Sequence[Run]) -> list[str]:
    """Keys whose values differ among runs of the same kind, in the order of the configurations."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    return [key for key in keys if not _is_ignored(key) and _differs(key, runs)]


def _differs(key: str, runs: Sequence[Run]) -> bool:
    kinds: dict[str, set[str]] = {}
    for run in runs:
        if run.config:
            kinds.setdefault(run.kind, set()).add(repr(run.config.get(key)))
    return any(len(values) > 1 for values in kinds.values())


def _is_ignored(key: str) -> bool:
    return any(key == each or key.startswith(f"{each}.") for each in IGNORED)


class Comparison(NamedTuple):
    """Two runs compared on the images that both have scored, in one column of one protocol.

    Attributes:
        gain: mean difference over images, positive where the second run is better.
        low, high: 95 % bootstrap interval of the gain. wins: share of images on which the second run is better.
        images: number of images compared. only_first, only_second: number scored by one run only.
        infinite: number left out because a score is infinite, as the PSNR of identical images is.
    """

    benchmark: str
    protocol: str
    scale: str
    column: str
    gain: float
    low: float
    high: float
    wins: float
    images: int
    only_first: int
    only_second: int
    infinite: int


def compare(first: Run, second: Run) -> list[Comparison]:
    """Paired statistics for each benchmark and column that both runs have."""
    groups = dict.fromkeys(key[:3] for key in first.images if key in second.images)
    found = []
    for group in groups:
        mine, theirs = ({key: row for key, row in run.images.items() if key[:3] == group} for run in (first, second))
        common = [key for key in mine if key in theirs]
        columns = [column for column in mine[common[0]] if column in theirs[common[0]]]
        for column in columns:
            sign = -1 if column in SMALLER_IS_BETTER else 1
            gains = [sign * (theirs[key][column] - mine[key][column]) for key in common]
            finite = [gain for gain in gains if math.isfinite(gain)]
            if not finite:
                continue
            counts = len(mine) - len(common), len(theirs) - len(common), len(gains) - len(finite)
            found.append(Comparison(*group, column, *paired(finite), len(finite), *counts))
    return found


def shortened(runs: list[Run]) -> tuple[list[Run], str]:
    """The runs with names relative to their common parent folder, and that folder, which may be empty."""
    names = [Path(run.name) for run in runs]
    if len({name.is_absolute() for name in names}) > 1 or len(runs) < 2:
        return runs, ""
    common = Path(os.path.commonpath(names))
    if common == Path() or not common.name:
        return runs, ""
    return [replace(run, name=str(name.relative_to(common))) for run, name in zip(runs, names, strict=True)], str(
        common
    )


def overview(runs: Sequence[Run], common: str = "") -> Table:
    """One row per run; ``common`` is the common parent folder of all runs."""
    keys = differing(runs)
    metrics = list(dict.fromkeys(metric for run in runs for metric in run.metrics))
    scored = [f"{what} ({protocol})" for protocol, what in metrics]
    rows = [
        [
            run.name,
            run.state,
            *("" if key not in run.config else str(run.config[key]) for key in keys),
            *(_score(what, run.metrics.get((protocol, what))) for protocol, what in metrics),
            "" if run.steps is None else str(run.steps),
            "" if run.seconds is None else f"{run.seconds:.1f}",
        ]
        for run in runs
    ]
    return Table(common and f"Runs in {common}.", ["run", "state", *keys, *scored, "steps", "seconds"], rows)


def _score(what: str, value: float | None) -> str:
    return "" if value is None else f"{value:.{DIGITS.get(what.rpartition('/')[2], 3)}f}"


def versus(runs: Sequence[Run]) -> Table:
    """One row per further run and score: its comparison with the first run, on the images that both have scored."""
    first, *others = runs
    caption = (
        f"Gain over {first.name}, image by image: mean difference (positive is better), its 95 % interval by 10000 "
        "bootstrap resamples with seed 0, and on how many images the run is better."
    )
    header = [
        "run",
        "benchmark",
        "protocol",
        "scale",
        "score",
        "gain",
        "95 % interval",
        "better on",
        "images",
        "not compared",
    ]
    return Table(caption, header, [_cells(other, each) for other in others for each in compare(first, other)])


def _cells(run: Run, found: Comparison) -> list[str]:
    digits = DIGITS.get(found.column, 3)
    gain, low, high = (f"{value:+.{digits}f}" for value in (found.gain, found.low, found.high))
    left_out = {
        "only the first has": found.only_first,
        "only this one has": found.only_second,
        "infinite": found.infinite,
    }
    words = ", ".join(f"{count} {why}" for why, count in left_out.items() if count)
    where = [run.name, found.benchmark, found.protocol, found.scale, found.column]
    interval = f"{low} to {high}" if found.images > 1 else ""  # one image has no spread
    return [*where, gain, interval, f"{found.wins:.0%}", str(found.images), words]
