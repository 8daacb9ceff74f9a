"""``restore table``: compares runs. Without Hydra, because folder names on its command line may contain anything."""

import difflib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import yaml

from restore.io.errors import SettingError
from restore.io.files import refuse_unwritable, write_text
from restore.io.tables import FORMATS, Table, draw
from restore.io.terminal import accept_any_text
from restore.runs import comparison, reader

HELP = """usage: restore table <folder> ... [key=value ...]

Compares runs and evaluations: what differs in their settings, final scores, steps, seconds; then every
further one with the first, image by image. A folder is one of a run, of an evaluation, or
one that contains runs.

  runs=[a,b]     folders, instead of naming them plainly
  format=        markdown, csv or latex; left out: drawn in a terminal, else markdown
  output=        a file, instead of the screen; as CSV the second table goes to <file>_paired.csv

A folder whose name looks like a setting: write ./ before it.
"""


@dataclass
class Settings:
    """Settings of the command."""

    runs: list[str] = field(default_factory=list)
    format: str | None = None
    output: str | None = None


def tables(settings: Settings) -> list[Table]:
    """A table of the runs, and one that compares each further run with the first.

    Raises:
        ValueError, FileNotFoundError: an invalid setting or folder.
    """
    if settings.format is not None and settings.format not in FORMATS:
        raise SettingError("format", settings.format, f"one of {', '.join(FORMATS)}")
    if settings.output is not None:
        refuse_unwritable(Path(settings.output).parent, [Path(settings.output).name])
    if not settings.runs:
        raise SettingError("runs", [], "run folders", "name some: restore table outputs/demo/demo multirun/sweep")
    runs, common = comparison.shortened([reader.read(folder) for folder in reader.find(settings.runs)])
    for note in dict.fromkeys(note for run in runs for note in run.notes):
        sys.stderr.write(f"table: {note}\n")
    found = [comparison.overview(runs, common), *([comparison.versus(runs)] if len(runs) > 1 else [])]
    return [each for each in found if each.rows]


def show(found: Sequence[Table], settings: Settings) -> None:
    """Write the tables to ``output``; else draw them on a terminal if no format is given, or print them as text."""
    if settings.output is None and settings.format is None and sys.stdout.isatty():
        for each in found:
            draw(each)
        return
    texts = [FORMATS[settings.format or "markdown"](each) for each in found]
    if settings.output is None:
        sys.stdout.write("\n".join(texts))
        return
    file = Path(settings.output)
    if settings.format == "csv" and len(texts) > 1:
        write_text(file.with_name(f"{file.stem}_paired{file.suffix}"), texts.pop())
    write_text(file, "\n".join(texts))


def parse(arguments: Sequence[str]) -> Settings:
    """Parse folders and ``key=value`` words in any order.

    Raises:
        ValueError: a word that is neither a setting nor a folder.
    """
    settings, known = Settings(), [each.name for each in fields(Settings)]
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if sign and key == "runs":
            settings.runs += reader.named_folders(value)
        elif sign and key in known:
            setattr(settings, key, value)
        elif sign and "/" not in key and not Path(argument).exists():
            close = difflib.get_close_matches(key, known, 1)
            remedy = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise ValueError(f"{key} is not a setting; {remedy}")
        else:
            settings.runs.append(argument)
    return settings


def main() -> None:
    """Read the command line, print the tables, and exit with 0 or 1."""
    accept_any_text()
    arguments = sys.argv[1:]
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(HELP)
        return
    try:
        if arguments[:2] == ["--cfg", "job"]:
            sys.stdout.write(yaml.safe_dump(vars(parse(arguments[2:])), sort_keys=False))
            return
        settings = parse(arguments)
        show(tables(settings), settings)
    except (ValueError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        sys.stderr.write(f"table: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
