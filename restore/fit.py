"""``restore fit``: trains, validates, tests, and writes a run folder that describes itself."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from restore.config.command import command
from restore.distributed.environment import ProcessInfo, process_info
from restore.distributed.signals import StopRequested, interrupting
from restore.io import files
from restore.io.errors import SettingError
from restore.io.progress import doing
from restore.io.wording import counted
from restore.runs import damage
from restore.runs import folder as run_folder
from restore.runs.resume import resume_point
from restore.training import launcher, max_time, outcome, preconditions, sweep

if TYPE_CHECKING:
    from restore.config.schemas import FitConfig

log = logging.getLogger(__name__)


def fit(cfg: "FitConfig") -> float:
    """Run one training job and return the monitored value."""
    started = time.time() if _is_point() else max_time.process_started()
    folder, process = Path(HydraConfig.get().runtime.output_dir), process_info()
    if process.rank:
        logging.getLogger().setLevel(logging.ERROR)  # only the first process logs
    if process.launcher == "torchrun":
        try:
            _refuse_separate_folders(cfg)
        except ValueError:
            run_folder.discard_unused(folder, sweep.Points.made)
            raise
    try:
        # until the training handles signals itself
        with interrupting() as stop_again, _locked(cfg, folder) if not process.rank else nullcontext():
            result = _resume_or_train(cfg, folder, process, started, stop_again)
    except StopRequested as stop:
        outcome.end(outcome.decide(stop, process, folder, is_point=_is_point()), is_point=_is_point())
    value, where = float(result["value"]), os.path.relpath(folder)
    log.info("%s = %.4f after %s; run folder: %s", result["monitor"], value, counted(result["steps"], "step"), where)
    return value


@contextmanager
def _locked(cfg: "FitConfig", folder: Path) -> Iterator[None]:
    """Lock the run folder, and remove it if the run ends before it is described."""
    with files.locked(folder):
        try:
            cfg.run_token = run_folder.run_token(folder)
            yield
        finally:
            run_folder.discard_unused(folder, sweep.Points.made)


def _resume_or_train(
    cfg: "FitConfig", folder: Path, process: ProcessInfo, started: float, stop_again: Callable[[], None]
) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    checkpoint = resume_point(folder, config, cfg.resume)
    if (result := damage.result(folder) if checkpoint is None else None) is not None:
        log.info("this run is already finished")
        return result
    overrides = list(HydraConfig.get().overrides.task)
    count = preconditions.refuse(cfg, config, process, overrides, is_resumed=checkpoint is not None)
    # a point of a sweep trains in its own process, so that the sweep survives if that ends
    if process.world_size == 1 and (count > 1 or _is_point()):
        job = {"config": config, "overrides": overrides, "folder": str(folder), "started": started}
        _train_in_new_processes(job, folder, checkpoint, count)
        return run_folder.finished(folder)
    with doing("loading PyTorch and Lightning"):
        from restore.training.train import train
    stop_again()
    try:
        return train(cfg, config, overrides, folder, checkpoint, started)
    except SystemExit:  # raised by Lightning on a second Ctrl-C
        raise StopRequested(signal.SIGINT) from None


def _refuse_separate_folders(cfg: "FitConfig") -> None:
    """Refuse several processes that would each create a run folder, named by the time or by a sweep."""
    if _is_point() and "SUBMITIT_LOCAL_NTASKS" not in os.environ:
        raise ValueError(
            "several processes were started, and each would run the whole sweep; start one, without torchrun, and set "
            "trainer.devices to the number of processes of a point"
        )
    if not _is_point() and cfg.run_id is None and "SLURM_JOB_ID" not in os.environ:
        expected = "a name, because several processes were started and must find the same folder"
        raise SettingError("run_id", "not set", expected, "set run_id")


def _train_in_new_processes(job: dict[str, Any], folder: Path, checkpoint: Path | None, count: int) -> None:
    """Train in new processes without Hydra, which this process only watches."""
    job["resume"] = None if checkpoint is None else str(checkpoint)
    job["logging"] = OmegaConf.to_container(HydraConfig.get().job_logging, resolve=True)
    if count > 1:
        log.info("training on %d processes", count)
    launcher.run(job, folder, count, sweep.requested_stop if _is_point() else lambda: 0)


def _is_point() -> bool:  # of a sweep
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


main = command(fit, "fit", around=sweep.summarised)

if __name__ == "__main__":
    main()
