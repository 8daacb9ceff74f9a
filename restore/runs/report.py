"""``report.html``: a run folder on one self-contained page, for runs without a dashboard."""

import base64
import csv
import json
import re
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader

from restore.io.files import read_mapping, write_text
from restore.runs.folder import warnings

SHOWN = 200  # images in the table of scores; results.csv has all


def write_report(folder: Path, state: str) -> None:
    """Write ``report.html`` from the files of a run folder; parts that do not exist yet are left out.

    Args:
        folder: of the run, with ``config.yaml`` and ``environment.json``.
        state: how far the run is, in words.
    """
    config = read_mapping(folder / "config.yaml")
    start = read_mapping(folder / "environment.json", ("starts",))["starts"][-1]
    done = folder / "result.json"
    rows = _rows(folder / "results.csv")
    # escaped: names and settings come from outside
    page = Environment(autoescape=True, loader=PackageLoader("restore.runs", "."), trim_blocks=True, lstrip_blocks=True)
    text = page.get_template("report.html.jinja").render(
        title=f"{config.get('name')}, {folder.name}",
        state=state,
        result=read_mapping(done) if done.exists() else {},
        warnings=warnings(folder),
        curves=_inline(folder / "curves.png"),
        panels=[(name, step, _inline(file)) for name, step, file in newest_panels(folder / "panels")],
        sheets=[(file.stem, _inline(file)) for file in sorted((folder / "stages").glob("*.png"))],
        rows=rows[:SHOWN],
        left_out=max(0, len(rows) - SHOWN),
        config=yaml.safe_dump(config, sort_keys=False),
        environment=json.dumps(start, indent=2),
    )
    write_text(folder / "report.html", text)


def newest_panels(folder: Path) -> list[tuple[str, int, Path]]:
    """Name, last step and file of the newest panel of each image."""
    newest: dict[str, tuple[int, Path]] = {}
    for file in sorted(folder.rglob("*.png")):
        found = re.fullmatch(r"(.+)_(\d{7,})", file.relative_to(folder).with_suffix("").as_posix())
        if found and int(found[2]) >= newest.get(found[1], (0, file))[0]:
            newest[found[1]] = int(found[2]), file
    return [(name, step, file) for name, (step, file) in newest.items()]


def _rows(table: Path) -> list[dict[str, Any]]:
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _inline(file: Path) -> str | None:
    """A PNG file as a data URI; None where there is none."""
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}" if file.exists() else None
