"""How a run ends that was asked to stop: what is decided, and what is then raised."""

import signal
from pathlib import Path

import pytest

from restore.distributed.environment import ALONE, ProcessInfo
from restore.distributed.signals import StopRequested
from restore.training import outcome, sweep
from restore.training.outcome import StopOutcome


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Signals for which Slurm was asked to requeue the job; it agrees to SIGUSR1."""
    numbers: list[int] = []

    def requeue(number: int) -> bool:
        numbers.append(number)
        return number == signal.SIGUSR1

    monkeypatch.setattr(outcome, "requeue", requeue)
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)
    return numbers


# whether it is a point; whether the sweep is another process; whether the point is a Slurm job; whether the signal was
# this process's own; number -> kind, whether Slurm is asked
CASES = [
    (False, True, False, True, signal.SIGTERM, "stopped", True),
    (False, True, False, True, signal.SIGUSR1, "requeued", True),
    (False, True, False, False, signal.SIGUSR1, "requeued", True),
    (True, False, False, True, signal.SIGTERM, "stopped", True),  # the sweep's own process, and so the sweep
    (True, False, False, False, signal.SIGTERM, "point stopped", False),  # only the process that trained the point
    (True, True, False, True, signal.SIGUSR1, "point stopped", False),  # the sweep asks for the job of all points
    (True, True, True, True, signal.SIGUSR1, "requeued", True),
    (True, True, True, True, signal.SIGTERM, "point stopped", True),
]


@pytest.mark.parametrize(("is_point", "is_elsewhere", "is_own_job", "is_own", "number", "kind", "asks"), CASES)
def test_a_stop_has_one_outcome(
    asked: list[int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    is_point: bool,
    is_elsewhere: bool,
    is_own_job: bool,
    is_own: bool,
    number: int,
    kind: str,
    asks: bool,
) -> None:
    monkeypatch.setattr(sweep, "is_in_other_process", lambda: is_elsewhere)
    monkeypatch.setattr(sweep, "is_own_job", lambda: is_own_job)
    found = outcome.decide(StopRequested(number, is_own=is_own), ALONE, tmp_path, is_point=is_point)
    assert (found.kind, found.number) == (kind, number)
    assert asked == ([number] if asks else [])


def test_only_the_first_process_asks_slurm(asked: list[int], tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    try:
        second = ProcessInfo(1, 2, 2, "srun")
        assert outcome.decide(StopRequested(signal.SIGUSR1), second, tmp_path, is_point=False).kind == "stopped"
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN  # srun's, while the first process is still logging
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert asked == []


def test_an_outcome_becomes_an_exit_status() -> None:
    with pytest.raises(SystemExit) as end:
        outcome.end(StopOutcome("stopped", signal.SIGTERM, "again"), is_point=False)
    assert end.value.code == 143
    with pytest.raises(SystemExit) as end:
        outcome.end(StopOutcome("requeued", signal.SIGUSR1, "again"), is_point=False)
    assert end.value.code == 128 + signal.SIGUSR1
    with pytest.raises(KeyboardInterrupt, match="again"):
        outcome.end(StopOutcome("stopped", signal.SIGINT, "again"), is_point=False)
    with pytest.raises(sweep.PointStopped, match="ended by SIGTERM"):
        outcome.end(StopOutcome("point stopped", signal.SIGTERM, "again"), is_point=True)
