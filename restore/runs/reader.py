"""Finds run folders and folders of evaluations, and reads their contents."""

import csv
import glob
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from restore.io.errors import SettingError
from restore.io.files import printable, read_mapping
from restore.io.wording import counted
from restore.runs.results import KEYS

RUN_FILES = ("config.yaml", "result.json", "environment.json", "checkpoints")
EVALUATION_FILES = ("results.json", "partial.json")

Key = tuple[str, str, str, str]  # benchmark, protocol, scale, image


@dataclass
class Run:
    """The contents of a run folder or evaluation folder.

    Attributes:
        name: the folder's path, as given or found.
        kind: ``fit`` or ``evaluate``.
        state: ``finished``, ``not finished`` (with the step) or ``damaged`` (with the file).
        config: settings by dotted key.
        metrics: final scores, keyed by protocol, then by what was scored.
        steps, seconds: of the training.
        images: scores of single images, by column.
        notes: sentences about damaged or duplicate scores.
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


def named_folders(text: str) -> list[str]:
    """Parse one folder name, or a list of them in brackets.

    >>> named_folders("[2024_06_01, b]"), named_folders("2024_06_01")
    (['2024_06_01', 'b'], ['2024_06_01'])

    Raises:
        SettingError: the list cannot be read.
    """
    try:
        given = yaml.load(text, Loader=yaml.BaseLoader)  # BaseLoader keeps 2024_06_01 as text
    except yaml.YAMLError:
        raise SettingError("runs", text, "folders, for example runs=[a,b]", "close the bracket or quote") from None
    return [str(each) for each in given] if isinstance(given, list) else [text]


def find(places: Sequence[str]) -> list[Path]:
    """Run and evaluation folders, without duplicates: each of ``places`` itself, or all those below it, in order.

    Raises:
        FileNotFoundError: no such folder. SettingError: the folder contains no run.
    """
    found: dict[Path, Path] = {}
    for place in places:
        expanded = [place] if Path(place).exists() else sorted(glob.glob(place))
        folders = [Path(each) for each in expanded if Path(each).is_dir()]
        if not folders:
            raise FileNotFoundError(
                f"runs: {printable(place)} is not a folder; name run folders or folders that contain runs"
            )
        below = [each for folder in folders for each in _below(folder)]
        if not below:
            expected = "a folder with config.yaml or results.json in it or below it"
            raise SettingError("runs", f"{printable(place)}, which holds no run", expected)
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
    """Read a folder; damaged and missing files are reported in its state instead of raised."""
    is_run = any((folder / name).exists() for name in RUN_FILES)
    run = Run(printable(folder), "fit" if is_run else "evaluate")
    try:
        (_read_run if is_run else _read_evaluation)(folder, run)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # valid JSON or YAML with other contents
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
    """The largest step in ``metrics.csv``; its last line may be incomplete."""
    if not metrics.is_file():
        return None
    with metrics.open(newline="", encoding="utf-8", errors="replace") as file:
        steps = [row.get("step") or "" for row in csv.DictReader(file)]
    return max((int(step) for step in steps if step.isdecimal()), default=None)


def _read_evaluation(folder: Path, run: Run) -> None:
    if not (folder / "results.json").exists():
        run.state = "not finished"
        return
    facts = read_mapping(folder / "results.json", ("means", "protocol"))
    run.config = {key: facts.get(key) for key in ("ckpt_path", "scale", "self_ensemble", "tile")}
    own = next(iter(facts["means"].values()))  # the baseline comes after it
    for benchmark, scores in own.items():
        for column, value in scores.items():
            run.metrics[str(facts["protocol"]), f"{benchmark}/{column}"] = None if value is None else float(value)


def _read_images(file: Path, run: Run) -> None:
    """Read one row per image; a row already read from another file is kept."""
    again = 0
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        for row in rows:
            key = (row["benchmark"], row["protocol"], f"{float(row['scale']):g}", row["image"])
            scores = {column: float(value) for column, value in row.items() if column not in KEYS}
            again += key in run.images
            run.images.setdefault(key, scores)
    except (ValueError, KeyError, TypeError, csv.Error):  # not text, not a number, or an incomplete line
        run.notes.append(f"{printable(file)} is damaged; the rows before the damage are used")
    if again:
        run.notes.append(
            f"{printable(file)} scores {counted(again, 'image')} that another file has scored too; left out"
        )


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        dotted = f"{prefix}.{key}" if prefix else str(key)
        found |= flat(value, dotted) if isinstance(value, Mapping) and value else {dotted: value}
    return found
