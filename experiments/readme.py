"""Keeps the tables of a study's README equal to its CSV files.

A table is the text between `<!-- table: name -->` and `<!-- end -->`; a test fails when it differs.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path


def filled(text: str, tables: Mapping[str, str]) -> str:
    """The text with every marked table replaced.

    Raises:
        ValueError: a table without its mark, or a mark without its table.
    """
    marks = re.findall(r"<!-- table: (\w+) -->", text)
    if sorted(marks) != sorted(tables):
        raise ValueError(f"the README marks {sorted(marks)}, the script makes {sorted(tables)}")
    for name, table in tables.items():
        start = text.index(f"<!-- table: {name} -->\n") + len(f"<!-- table: {name} -->\n")
        text = f"{text[:start]}{table}\n{text[text.index('<!-- end -->', start) :]}"
    return text


def fill(path: Path, tables: Mapping[str, str], *, write: bool) -> None:
    """Print the tables, and write them into the README if asked to."""
    for name, table in tables.items():
        print(f"{name}\n\n{table}\n")
    if write:
        path.write_text(filled(path.read_text(encoding="utf-8"), tables), encoding="utf-8")


def command(folder: Path, doc: str | None, tables: Mapping[str, Callable[[], str]]) -> None:
    """The command `python -m experiments.<study>.tables [--write]`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into README.md")
    fill(folder / "README.md", {name: make() for name, make in tables.items()}, write=parser.parse_args().write)
