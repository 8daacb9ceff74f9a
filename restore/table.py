"""``restore table``: compares runs. No Hydra here, because what it is given are folders, whose names hold anything."""

import difflib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import yaml

from restore.io.files import write_text
from restore.io.tables import FORMATS, Table, draw
from restore.runs.comparison import Comparison, Run, compare, differing, find, read
from restore.runs.results import DIGITS

HELP = """usage: restore table <folder> ... [key=value ...]

Compares runs and evaluations: what differs in their settings, final scores, steps, seconds; then every
further one against the first, picture by picture. A folder is one of a run, of an evaluation, or a parent
of such.

  runs=[a,b]     folders, if you prefer it to naming them plainly
  format=        markdown, csv or latex; left out: drawn in a terminal, else markdown
  output=        a file, in place of the screen; as CSV the second table goes to <file>_paired.csv

A folder whose name looks like a setting: write ./ before it.
"""


@dataclass
class Settings:
    """Of the command."""

    runs: list[str] = field(default_factory=list)
    format: str | None = None
    output: str | None = None


def tables(settings: Settings) -> list[Table]:
    """What there is to compare: the runs, and every further one against the first.

    Raises:
        ValueError, FileNotFoundError: a setting or a folder that cannot be.
    """
    if settings.format is not None and settings.format not in FORMATS:
        raise ValueError(f"format is {settings.format}, expected one of {', '.join(FORMATS)}")
    if not settings.runs:
        raise ValueError("no folder is named, expected run folders: restore table outputs/demo/demo multirun/sweep")
    runs, common = _shortened([read(folder) for folder in find(settings.runs)])
    for note in dict.fromkeys(note for run in runs for note in run.notes):
        sys.stderr.write(f"table: {note}\n")
    return [each for each in (overview(runs, common), *([versus(runs)] if len(runs) > 1 else [])) if each.rows]


def give(found: Sequence[Table], settings: Settings) -> None:
    """Write them to ``output``, or show them: drawn where somebody looks and names no format, else as text."""
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


def _shortened(runs: list[Run]) -> tuple[list[Run], str]:
    """Runs named by what their folders do not share, and what they do share."""
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
    """A row for each run; ``common`` is the folder that all of them are in."""
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
    """Every further run against the first, on the pictures that both have."""
    first, *others = runs
    caption = (
        f"Gain over {first.name}, picture by picture: mean difference (positive is better), its 95 % interval by 10000 "
        "bootstrap resamples with seed 0, and on how many pictures the run is better."
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
        "pictures",
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
    interval = f"{low} to {high}" if found.images > 1 else ""  # one picture says nothing of how pictures differ
    return [*where, gain, interval, f"{found.wins:.0%}", str(found.images), words]


def parse(arguments: Sequence[str]) -> Settings:
    """Plain folders and ``key=value`` in any order.

    Raises:
        ValueError: a key that is no setting and no folder.
    """
    settings, known = Settings(), [each.name for each in fields(Settings)]
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if sign and key == "runs":
            given = yaml.safe_load(value)
            settings.runs += [str(each) for each in given] if isinstance(given, list) else [value]
        elif sign and key in known:
            setattr(settings, key, value)
        elif sign and "/" not in key and not Path(argument).exists():
            close = difflib.get_close_matches(key, known, 1)
            raise ValueError(
                f"{key} is not a setting; "
                + (f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}")
            )
        else:
            settings.runs.append(argument)
    return settings


def main() -> None:
    """Read the command line, print, and end with 0 or 1."""
    arguments = sys.argv[1:]
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(HELP)
        return
    try:
        if arguments[:2] == ["--cfg", "job"]:
            sys.stdout.write(yaml.safe_dump(vars(parse(arguments[2:])), sort_keys=False))
            return
        settings = parse(arguments)
        give(tables(settings), settings)
    except (ValueError, OSError, yaml.YAMLError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        sys.stderr.write(f"table: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
