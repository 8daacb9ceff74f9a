"""``restore fit``: trains, validates, tests, and leaves a run folder that describes itself."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from restore.config.command import command
from restore.distributed.environment import Place, check_processes, own_place, wanted_processes
from restore.distributed.signals import BUT_CTRL_C, StopRequested, handled, interrupt, requeue
from restore.io import files
from restore.runs import folder as run_folder
from restore.runs.resume import resume_point
from restore.training import launcher, sweep

log = logging.getLogger(__name__)


def fit(cfg: DictConfig) -> float:
    """Run one training job and return the monitored value."""
    folder, place = Path(HydraConfig.get().runtime.output_dir), own_place()
    if place.rank:
        logging.getLogger().setLevel(logging.ERROR)  # the first process speaks for all
    elif place.by == "environment":
        _refuse_own_folders(cfg)
    try:
        # until the training handles signals itself
        with handled(interrupt, BUT_CTRL_C), _owning(cfg, folder) if not place.rank else nullcontext():
            result = _resume_or_train(cfg, folder, place)
    except StopRequested as interrupted:
        _end(interrupted, folder, place)
    where = os.path.relpath(folder)
    log.info("%s = %.4f after %d steps; all of it: %s", result["monitor"], result["value"], result["steps"], where)
    return float(result["value"])


@contextmanager
def _owning(cfg: DictConfig, folder: Path) -> Iterator[None]:
    """Keep other jobs out of the folder, and leave nothing of one that ended before it was described."""
    with files.locked(folder):
        try:
            cfg.run_token = run_folder.run_token(folder)
            yield
        finally:
            run_folder.discard_unused(folder)


def _resume_or_train(cfg: DictConfig, folder: Path, place: Place) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    checkpoint = resume_point(folder, config, cfg.resume)
    result = run_folder.result(folder)
    if result is not None:
        log.info("this run is already finished")
        return result
    count = wanted_processes(config["trainer"])
    check_processes(config, place, count)
    overrides = list(HydraConfig.get().overrides.task)
    # a point of a sweep trains in a process of its own, so that the sweep outlives it
    if place.world == 1 and (count > 1 or _is_point()):
        _on_processes(config, overrides, folder, checkpoint, count)
        return run_folder.finished(folder)

    from restore.training import train as training

    try:
        return training.train(cfg, config, overrides, folder, checkpoint)
    except SystemExit:  # what Lightning makes of a second Ctrl-C
        raise StopRequested(signal.SIGINT) from None


def _refuse_own_folders(cfg: DictConfig) -> None:
    """Each of several processes composes its configuration by itself, so the time is no name they share."""
    if _is_point() and "SUBMITIT_LOCAL_NTASKS" not in os.environ:
        raise ValueError(
            "several processes were started, and each would go through the sweep by itself; start one, without "
            "torchrun, and set trainer.devices to the number of processes of a point"
        )
    if not _is_point() and cfg.run_id is None and "SLURM_JOB_ID" not in os.environ:
        raise ValueError("run_id is not set, but several processes were started and must find one folder; set run_id")


def _on_processes(
    config: dict[str, Any], overrides: list[str], folder: Path, checkpoint: Path | None, count: int
) -> None:
    """Train in fresh processes; this one only watches them."""
    job = {
        "config": config,
        "overrides": overrides,
        "folder": str(folder),
        "resume": None if checkpoint is None else str(checkpoint),
        "logging": OmegaConf.to_container(HydraConfig.get().job_logging, resolve=True),
    }
    if count > 1:
        log.info("training on %d processes", count)
    launcher.run(job, folder, count, sweep.told_to_end if _is_point() else lambda: 0)


def _is_point() -> bool:
    """Whether this is a point of a sweep."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def _end(interrupted: StopRequested, folder: Path, place: Place) -> NoReturn:
    """Give a run that was asked to end the status of its signal, 128 + number, and a word.

    Raises:
        BrokenOff: it is a point of a sweep, and the sweep goes on.
    """
    number, remedy = interrupted.number, run_folder.remedy(folder, is_point=_is_point())
    said = f"ended by {signal.Signals(number).name}. {remedy}"
    log.warning(said)
    is_one_of_many = _is_point() and (sweep.is_elsewhere() or not interrupted.is_own)
    # of several points in one job it is their sweep that asks
    asks = not place.rank and (sweep.is_own_job() or not is_one_of_many)
    will_start_again = asks and requeue(number)
    if place.world > 1:
        from restore.distributed import collectives

        # srun and torchrun end the others as soon as one is gone, and the first may still be sending its last words
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if interrupted.is_common:
            will_start_again = collectives.broadcast(will_start_again, 0)
            collectives.barrier()
    if is_one_of_many and not will_start_again:
        raise sweep.BrokenOff(said) from None
    if _is_point() and sweep.Points.current is not None:
        sweep.Points.current.note_end(said)
    if number == signal.SIGINT:
        raise KeyboardInterrupt(remedy) from None
    raise SystemExit(128 + number) from None


main = command(fit, "fit", around=sweep.summed_up)

if __name__ == "__main__":
    main()
