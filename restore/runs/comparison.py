"""Finds run folders and the folders of evaluations, reads what they hold, and compares it."""

import csv
import glob
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from restore.io.files import printable, read_mapping
from restore.runs.results import SMALLER_IS_BETTER, paired

RUN_FILES = ("config.yaml", "result.json", "environment.json", "checkpoints")
EVALUATION_FILES = ("results.json", "partial.json")
# says nothing about a run: names of places, and what is only shown
IGNORED = ("run_id", "run_token", "resume", "logger", "callbacks.progress")
KEYS = ("benchmark", "image", "scale", "protocol")

Key = tuple[str, str, str, str]  # benchmark, protocol, scale, image


@dataclass
class Run:
    """What a folder says about itself.

    Attributes:
        name: of the folder, as it was given or found.
        kind: ``fit`` or ``evaluate``.
        state: ``finished``, or in words what it is instead.
        config: settings by dotted key.
        metrics: final scores, by protocol and then what was scored.
        steps, seconds: of a training.
        images: scores of single pictures by column.
        notes: what else is to be said.
    """

    name: str
    kind: str
    state: str = "finished"
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[tuple[str, str], float | None] = field(default_factory=dict)
    steps: int | None = None
    seconds: float | None = None
    images: dict[Key, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find(places: Sequence[str]) -> list[Path]:
    """The folders meant: each place itself, or every one below it, in order, each once.

    Raises:
        FileNotFoundError: no such folder. ValueError: no run in it.
    """
    found: dict[Path, Path] = {}
    for place in places:
        expanded = [place] if Path(place).exists() else sorted(glob.glob(place))
        folders = [Path(each) for each in expanded if Path(each).is_dir()]
        if not folders:
            raise FileNotFoundError(f"runs: {printable(place)} is not a folder; name run folders or parents of such")
        below = [each for folder in folders for each in _below(folder)]
        if not below:
            raise ValueError(
                f"runs: {printable(place)} holds no run, expected a folder with config.yaml or results.json in it or "
                "below it"
            )
        for each in below:
            found.setdefault(each.resolve(), each)
    return list(found.values())


def _below(folder: Path) -> Iterator[Path]:
    if any((folder / name).exists() for name in (*RUN_FILES, *EVALUATION_FILES)):
        yield folder
        return
    inside = (each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    for each in sorted(inside):
        yield from _below(each)


def read(folder: Path) -> Run:
    """What the folder holds; what is damaged or missing becomes its state, never an error."""
    is_run = any((folder / name).exists() for name in RUN_FILES)
    run = Run(printable(folder), "fit" if is_run else "evaluate")
    try:
        (_read_run if is_run else _read_evaluation)(folder, run)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # of a file that holds something else
        what = str(error).split(" is damaged")[0] if " is damaged" in str(error) else type(error).__name__
        run.state = f"damaged ({printable(Path(what).name)})"
    for file in (folder / "results.csv", *sorted(folder.glob("evaluate*/results.csv"))):
        if file.is_file():
            _read_images(file, run)
    return run


def _read_run(folder: Path, run: Run) -> None:
    if (folder / "config.yaml").exists():
        run.config = flat(read_mapping(folder / "config.yaml"))
    if not (folder / "result.json").exists():
        step = _last_step(folder / "metrics.csv")
        run.state = "not finished" if step is None else f"not finished, at step {step}"
        return
    result = read_mapping(folder / "result.json", ("metrics", "protocol", "steps"))
    protocol = str(result["protocol"])
    scores = {key.removeprefix("test/"): float(value) for key, value in result["metrics"].items() if "/" in key}
    run.metrics = {(protocol, what): value for what, value in scores.items()}
    run.steps, run.seconds = int(result["steps"]), float(result.get("seconds", math.nan))


def _last_step(metrics: Path) -> int | None:
    """The largest step in ``metrics.csv``; the last line may be cut off."""
    if not metrics.is_file():
        return None
    with metrics.open(newline="", errors="replace") as file:
        steps = [row.get("step") or "" for row in csv.DictReader(file)]
    return max((int(step) for step in steps if step.isdecimal()), default=None)


def _read_evaluation(folder: Path, run: Run) -> None:
    if not (folder / "results.json").exists():
        run.state = "not finished"
        return
    facts = read_mapping(folder / "results.json", ("means", "protocol"))
    run.config = {key: facts.get(key) for key in ("ckpt_path", "scale", "self_ensemble", "tile")}
    own = next(iter(facts["means"].values()))  # a baseline stands behind it
    for benchmark, scores in own.items():
        for column, value in scores.items():
            run.metrics[str(facts["protocol"]), f"{benchmark}/{column}"] = None if value is None else float(value)


def _read_images(file: Path, run: Run) -> None:
    """A row an image; rows that were read before, from another file, stay."""
    again = 0
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        for row in rows:
            key = (row["benchmark"], row["protocol"], f"{float(row['scale']):g}", row["image"])
            scores = {column: float(value) for column, value in row.items() if column not in KEYS}
            again += key in run.images
            run.images.setdefault(key, scores)
    except (ValueError, KeyError, TypeError, csv.Error):  # bytes that are no text, no number, a line cut off
        run.notes.append(f"{printable(file)} is damaged; what could be read of it is used")
    if again:
        run.notes.append(f"{printable(file)} scores {again} pictures again that another file has scored; left out")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        place = f"{prefix}.{key}" if prefix else str(key)
        found |= flat(value, place) if isinstance(value, Mapping) and value else {place: value}
    return found


def differing(runs: Sequence[Run]) -> list[str]:
    """Keys whose values differ among the runs of one kind, in the order of the configurations."""
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
    """Two runs on the pictures that both have scores of, by one column of one protocol.

    Attributes:
        gain: mean of the pictures' differences, positive where the second run is better.
        low, high: of its 95 % bootstrap interval. wins: share of pictures on which the second is better.
        images: compared. only_first, only_second: pictures that only one has. infinite: left out, for a perfect
            picture's score is infinite.
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
    """Paired statistics, for each benchmark and column that both runs have scores of."""
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
