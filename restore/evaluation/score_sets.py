"""Scores restorers on benchmark sets, resuming an interrupted evaluation, and writes the results."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.distributed.process_pool import spread
from restore.evaluation.scorer import Scorer, ScoringTask
from restore.inference.load import open_restorer
from restore.io import tables
from restore.io.errors import SettingError
from restore.io.progress import show_progress
from restore.runs import results
from restore.runs.folder import git_state
from restore.runs.results import Row

if TYPE_CHECKING:
    from restore.inference.restorer import Restorer
    from restore.metrics.protocols import Protocol

log = logging.getLogger(__name__)

Scorers = list[tuple["Restorer", Scorer]]  # the evaluated restorer, then its baseline


def open_scorers(
    restorer: "Restorer",
    ckpt_path: str,
    settings: Mapping[str, Any],
    *,
    baseline: str | None,
    sets: dict[str, Any],
    protocol: str,
) -> Scorers:
    """The scorers of a restorer and of its baseline, unless there is none or it is the restorer itself.

    Args:
        ckpt_path, settings: arguments of ``open_restorer`` for ``restorer``.
        baseline: also a ``ckpt_path``; opened at the scale of ``restorer``.

    Raises:
        SettingError: both have the same name, or the baseline has another scale. ValueError, FileNotFoundError: the
            baseline cannot be opened.
    """
    scorers = [(restorer, Scorer(ckpt_path, dict(settings), sets, protocol))]
    if baseline is None or baseline == ckpt_path:
        return scorers
    of_baseline = {**settings, "scale": restorer.scale}
    try:
        other = open_restorer(baseline, **of_baseline)
    except SettingError as error:
        if error.key not in ("scale", "ckpt_path"):
            raise
        is_scale = error.key == "scale"
        expected = f"one for scale {restorer.scale:g}, that of ckpt_path" if is_scale else error.expected
        raise SettingError("baseline", baseline, expected, "name another, or set baseline=null") from error
    if other.name == restorer.name:
        raise SettingError(
            "baseline",
            baseline,
            f"a name other than {restorer.name}, that of ckpt_path, for the tables",
            "rename a file",
        )
    return [*scorers, (other, Scorer(baseline, of_baseline, sets, protocol))]


def score_all(
    scorers: Scorers,
    partial: results.Partial,
    *,
    images: Path | None,
    processes: int,
    threads: int | None,
    stopped: Callable[[], bool],
) -> dict[str, list[Row]] | None:
    """Score each image with each restorer.

    Args:
        partial: finished rows, to which new ones are added. images: folder for restored images, or None.
        processes, threads: as for :func:`restore.distributed.process_pool.spread`. stopped: polled.

    Returns:
        Rows by the restorer's name, or None if it was stopped.
    """
    rows = {}
    for restorer, scorer in scorers:
        tasks = _tasks(restorer.name, scorer, images)
        waiting = [task for task in tasks if task.key not in partial.rows or (task.file and not task.file.exists())]
        with show_progress(restorer.name, len(waiting)) as (show, advance):
            for task, row in spread(
                waiting,
                scorer.worker(restorer),
                scorer.start,
                processes=processes,
                threads=threads,
                cancel=stopped,
                show=show,
            ):
                if row is not None:
                    partial.add(task.key, row)
                advance()
        if stopped():
            return None
        rows[restorer.name] = [partial.rows[task.key] for task in tasks]
    return rows


def _tasks(name: str, scorer: Scorer, images: Path | None) -> list[ScoringTask]:
    tasks = []
    for benchmark, dataset in scorer.sets.items():
        for number, pair in enumerate(dataset.pairs):
            key = f"{name}/{benchmark}/{pair.name}"
            tasks.append(ScoringTask(key, benchmark, number, None if images is None else images / f"{key}.png"))
    return tasks


def log_replaced(folder: Path, facts: Row) -> None:
    """Log a line if the folder holds results of other weights or another protocol.

    Args:
        facts: of the new results; ``ckpt_path``, ``sha256`` and ``protocol`` are compared.
    """
    earlier = results.earlier(folder)
    if earlier is None:
        return
    keys = ("sha256", "protocol") if facts["sha256"] is not None else ("sha256", "protocol", "ckpt_path")
    if any(earlier.get(key) != facts[key] for key in keys):
        what = f"of {earlier.get('ckpt_path')} by {earlier.get('protocol')}" if earlier else "that are damaged"
        log.info("%s: results %s will be replaced", folder, what)


def write_results(
    folder: Path, rows: dict[str, list[Row]], means: results.Means, protocol: "Protocol", facts: Row
) -> None:
    """Write the files of an evaluation, and print its table.

    Args:
        rows, means: by the restorer's name, the evaluated one first.
        facts: for ``results.json``; means, notes about single images and the state of git are added.
    """
    own = next(iter(rows.values()))
    notes = {f"{row['benchmark']}/{row['image']}": row["notes"] for row in own if row["notes"]}
    table = results.table(means, int(facts["scale"]), protocol.name)
    text = tables.markdown(table)
    results.write(folder, own, protocol.columns, facts | {"means": means, "notes": notes, "git": git_state()}, text)
    tables.put(table, text)
    log.info("per image: %s", folder / "results.csv")
