"""How a run that was asked to stop ends: first the decision, then the action."""

import logging
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from restore.distributed.environment import ProcessInfo
from restore.distributed.signals import StopRequested, requeue
from restore.runs import folder as run_folder
from restore.training import sweep

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StopOutcome:
    """How a run that was asked to stop ends.

    Attributes:
        kind: ``point stopped`` (the sweep continues with its next point), ``requeued`` (Slurm starts the job again) or
            ``stopped``.
        number: number of the signal.
        remedy: how to resume.
    """

    kind: Literal["point stopped", "requeued", "stopped"]
    number: int
    remedy: str

    @property
    def message(self) -> str:
        """One line for the log and for the record of a point of a sweep."""
        return f"ended by {signal.Signals(self.number).name}. {self.remedy}"


def decide(stop: StopRequested, process: ProcessInfo, folder: Path, *, is_point: bool) -> StopOutcome:
    """Decide how the run ends; ask Slurm to requeue the job where that is this process's task.

    If several processes agreed to stop, all of them must call this.

    Args:
        stop: the signal. process: this process. folder: the run folder. is_point: whether the run is a point of a
            sweep.
    """
    remedy = run_folder.remedy(folder, is_point=is_point)
    stopped = StopOutcome("stopped", stop.number, remedy)
    log.warning(stopped.message)
    # a signal sent to this point or its process alone leaves the sweep running
    sweep_continues = is_point and (sweep.is_in_other_process() or not stop.is_own)
    # if several points share a job, the sweep requests the requeue
    is_for_job = sweep.is_own_job() or not sweep_continues
    is_requeued = process.rank == 0 and is_for_job and requeue(stop.number)
    if process.world_size > 1:
        is_requeued = _agreed(is_requeued, stop)
    if is_requeued:
        return StopOutcome("requeued", stop.number, remedy)
    return StopOutcome("point stopped", stop.number, remedy) if sweep_continues else stopped


def _agreed(is_requeued: bool, stop: StopRequested) -> bool:
    """Broadcast the first process's answer to all processes."""
    from restore.distributed import collectives

    # srun and torchrun terminate all processes as soon as one exits, while the first may still be logging
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if stop.is_common:
        is_requeued = collectives.broadcast(is_requeued, 0)
        collectives.barrier()
    return is_requeued


def end(outcome: StopOutcome, *, is_point: bool) -> NoReturn:
    """End the command, or only this point of a sweep.

    Raises:
        PointStopped: the sweep continues.
        KeyboardInterrupt: after Ctrl-C. SystemExit: after other signals, with 128 + their number.
    """
    if outcome.kind == "point stopped":
        raise sweep.PointStopped(outcome.message) from None
    if is_point and sweep.Points.current is not None:
        sweep.Points.current.write_stop(outcome.message)
    if outcome.number == signal.SIGINT:
        raise KeyboardInterrupt(outcome.remedy) from None
    raise SystemExit(128 + outcome.number) from None
