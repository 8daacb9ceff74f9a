"""``report.html``: a run folder on one self-contained page, for runs without a dashboard."""

import base64
import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, Template

from restore.io.files import json_text, read_mapping, write_text
from restore.runs import results
from restore.runs.folder import warnings

SHOWN = 200  # rows in the table of scores; results.csv has all of them


def write_report(folder: Path, state: str) -> None:
    """Write ``report.html`` from the files of a run folder; sections whose files do not exist yet are left out.

    Args:
        folder: the run folder, with ``config.yaml`` and ``environment.json``.
        state: progress of the run, in words.
    """
    config = read_mapping(folder / "config.yaml")
    start = read_mapping(folder / "environment.json", ("starts",))["starts"][-1]
    done = folder / "result.json"
    rows, baseline = _rows(folder), results.baseline(folder)[0]
    text = _page().render(
        title=f"{config.get('name')}, {folder.name}",
        state=state,
        result=_result(read_mapping(done)) if done.exists() else {},
        baseline=baseline,
        baseline_means={f"test/{key}": _digits(key, value) for key, value in results.baseline_means(folder).items()},
        warnings=warnings(folder),
        curves=_inline(folder / "curves.png"),
        panels=[
            (name, step, _inline(file), _columns(name, config)) for name, step, file in newest_panels(folder / "panels")
        ],
        sheets=[(file.stem, _inline(file)) for file in sorted((folder / "stages").glob("*.png"))],
        rows=rows[:SHOWN],
        left_out=max(0, len(rows) - SHOWN),
        config=yaml.safe_dump(config, sort_keys=False),
        environment=json_text(start, indent=2),
    )
    write_text(folder / "report.html", text)


@cache
def _page() -> Template:
    """The template, compiled once: every validation, and every run of a sweep in one process, writes the page."""
    # autoescape, because names and settings are untrusted
    loader = PackageLoader("restore.runs", ".")
    environment = Environment(autoescape=True, loader=loader, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("report.html.jinja")


def newest_panels(folder: Path) -> list[tuple[str, int, Path]]:
    """Name, last step and file of the newest panel of each image."""
    newest: dict[str, tuple[int, Path]] = {}
    for file in sorted(folder.rglob("*.png")):
        found = re.fullmatch(r"(.+)_(\d{7,})", file.relative_to(folder).with_suffix("").as_posix())
        if found and int(found[2]) >= newest.get(found[1], (0, file))[0]:
            newest[found[1]] = int(found[2]), file
    return [(name, step, file) for name, (step, file) in newest.items()]


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Rows of ``results.csv``, formatted with the digits of their columns, with the baseline's scores."""
    if not (folder / "results.csv").exists():
        return []
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    name, others = results.baseline(folder)
    of_image = {(row.get("benchmark", ""), row.get("image", "")): row for row in others}
    shown = []
    for row in rows:
        scores = [key for key in row if key not in results.KEYS]
        other = of_image.get((row.get("benchmark", ""), row.get("image", "")), {})
        beside = {f"{key}, {name}": _digits(key, other[key]) for key in scores if key in other}
        shown.append(row | {key: _digits(key, row[key]) for key in scores} | beside)
    return shown


def _result(result: dict[str, Any]) -> dict[str, Any]:
    """The result, its scores formatted with the digits of their columns."""
    metrics = {key: _digits(key, value) for key, value in result.get("metrics", {}).items()}
    value = _digits(str(result.get("monitor")), result.get("value"))
    return result | {"metrics": metrics, "value": value}


def _digits(key: str, value: Any) -> str:
    """Format a score as tables do; the last part of its name is the column. Other values stay as they are."""
    number = results.number(value)
    return str(value or "") if number is None else results.as_text(key.rpartition("/")[2], number)


def _columns(panel: str, config: Mapping[str, Any]) -> list[str]:
    """Captions of a panel's columns."""
    if panel.endswith("_attention"):
        return ["input", "attention"]
    levels = config.get("model", {}).get("levels")  # set for a model that refines its output at each level of a pyramid
    if levels is not None:
        return ["input", *(f"output of level {level}" for level in reversed(range(levels))), "reference"]
    gain = ((config.get("callbacks") or {}).get("panels") or {}).get("error_gain", 4)
    return ["input", "restored", "reference", f"error x{gain:g}"]


def _inline(file: Path) -> str | None:
    """A PNG file as a data URI, or None without such a file."""
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}" if file.exists() else None
