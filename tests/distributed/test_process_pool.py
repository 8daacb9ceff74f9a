import functools
import os
import time
from typing import Any

import pytest

from restore.distributed.process_pool import Context, Worker, spread
from restore.io.progress import TaskProgress


def double() -> Worker:
    return lambda task, context: (2 * task, os.getpid())


def slow() -> Worker:
    return functools.partial(wait_for_the_end)


def wait_for_the_end(task: Any, context: Context) -> str:
    context.report("waiting", 0, 1)
    while not context.cancel():
        time.sleep(0.05)
    return "cancelled"


def dies() -> Worker:
    return lambda task, context: os._exit(9)


def refuses() -> Worker:
    def refuse(task: Any, context: Context) -> None:
        raise ValueError(f"task {task} is refused")

    return refuse


def run(start: Any, tasks: list[Any], processes: int, **changes: Any) -> list[tuple[Any, Any]]:
    settings: dict[str, Any] = {"cancel": lambda: False, "show": lambda report: None, "threads": 1}
    return list(spread(tasks, start(), start, processes=processes, **settings | changes))


@pytest.mark.parametrize("processes", [1, 2])
def test_each_task_is_done_once(processes: int) -> None:
    found = run(double, list(range(8)), processes)
    assert sorted((task, result[0]) for task, result in found) == [(k, 2 * k) for k in range(8)]
    assert (os.getpid() in {result[1] for _, result in found}) == (processes == 1)


@pytest.mark.usefixtures("forked_pool")
def test_cancelled_processes_end_their_tasks_and_begin_no_others() -> None:
    reports = list[TaskProgress]()
    found = run(slow, list(range(6)), 2, cancel=lambda: len(reports) >= 2, show=reports.append)
    assert [result for _, result in found] == ["cancelled"] * 2
    assert {report.process for report in reports} == {0, 1}


@pytest.mark.usefixtures("forked_pool")
@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_worker_raises_goes_through(processes: int) -> None:
    with pytest.raises(ValueError, match="is refused"):
        run(refuses, [1, 2, 3], processes)


@pytest.mark.usefixtures("forked_pool")
def test_a_process_that_dies_is_named() -> None:
    with pytest.raises(ChildProcessError, match="one of 2 processes ended unexpectedly"):
        run(dies, [1, 2, 3], 2)


def test_nothing_to_do_starts_nothing() -> None:
    assert run(dies, [], 2) == []
