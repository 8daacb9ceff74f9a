"""One training in this process: builds model, data and trainer, trains, and writes the files of the run folder."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import Trainer, seed_everything

from restore.callbacks.metrics_csv import MetricsCSV
from restore.callbacks.run_timer import RunTimer
from restore.config.log_filters import filter_lightning_logs
from restore.data.base import PairedData
from restore.data.loader_workers import loader_workers
from restore.distributed import collectives
from restore.distributed.environment import process_info
from restore.io import files
from restore.io.progress import doing
from restore.io.wording import counted
from restore.models import loading
from restore.models.base import Keep, RestorationModel
from restore.runs import folder as run_folder
from restore.runs.damage import set_aside, small_files
from restore.runs.report import write_report
from restore.runs.resume import damaged_checkpoints
from restore.training.parts import Data, model_and_data, read_resume
from restore.training.progress_line import Status
from restore.training.step_budget import in_slot
from restore.training.trainer import logging_runs, make_trainer, run_callbacks

if TYPE_CHECKING:
    from restore.config.schemas import FitConfig

log = logging.getLogger(__name__)


def train(
    cfg: "FitConfig",
    config: dict[str, Any],
    overrides: list[str],
    folder: Path,
    resume: Path | None,
    started: float | None = None,
) -> dict[str, Any]:
    """Train in this process, alone or as one of several processes.

    Args:
        cfg: the root of ``restore fit``. config: the same, resolved, as plain containers.
        overrides: words of the command line. folder: the run folder. resume: the checkpoint to resume from, if any.
        started: Unix time at which the run began, for ``trainer.max_time``; None for now.

    Returns:
        The result, which the first process has also written to ``result.json``.

    Raises:
        ValueError: a setting is invalid, alone or with others. StopRequested: the run was asked to stop.
    """
    filter_lightning_logs()
    set_threads_and_seed(cfg.threads, cfg.seed)
    is_new_run = resume is None or resume.parent != folder / "checkpoints"
    model, data = model_and_data(cfg, is_resumed=resume is not None, world_size=process_info().world_size)
    model.keep = cast("Keep | None", cfg.checkpoint.keep)  # make_trainer refuses any other value
    timer = RunTimer(is_new_run=is_new_run)
    precision = None if is_new_run else run_folder.recorded_precision(folder)
    callbacks = run_callbacks(cfg, timer, is_new_run=is_new_run)
    trainer = make_trainer(cfg, folder, model, callbacks, resumed_precision=precision)
    stored = None if resume is None else read_resume(resume, model, cfg.trainer, is_new_run=is_new_run)
    begin, is_validated = _steps_done(stored)
    if stored is not None and not is_new_run:
        timer.load_state_dict(stored["callbacks"][timer.state_key])
        model.best, model.record = stored["restore"]["best"], stored["restore"].get("record", {})
    damaged, small = _damaged(folder, trainer, None if is_new_run else resume)
    with doing("reading and checking the images"):
        fingerprints = data.prepare()
    in_time = in_slot(cfg, config, folder, model, data, stored, started, is_new_run=is_new_run)
    if in_time is not None:
        trainer = make_trainer(cfg, folder, model, [*callbacks, in_time], resumed_precision=precision)
    _begin_metrics(trainer, begin)
    if trainer.is_global_zero:
        set_aside(small)
        facts = _facts(trainer, data, fingerprints, [*damaged.values(), *small.values()])
        run_folder.describe(folder, config, overrides, facts)
    set_aside(damaged)
    if is_new_run and trainer.is_global_zero:  # only now, when settings and data are known to be valid
        run_folder.clear(folder)
    _log_start(model, trainer, begin, is_resumed=resume is not None)
    with logging_runs(trainer), loader_workers(data.num_workers), doing(Status(trainer, model, begin).line):
        done = _fit(trainer, model, data, resume, begin, is_validated=is_validated)
        scores = _test_kept(trainer, data, folder, model)
    result = _result(folder, model, trainer, timer, data.batch_size, done, scores)
    result["warnings"] += [] if in_time is None else in_time.warnings
    if trainer.is_global_zero:
        files.write_json(folder / "result.json", result, indent=2)
        write_report(folder, f"finished after {done} steps")
    collectives.leave()
    return result


def _steps_done(stored: Mapping[str, Any] | None) -> tuple[int, bool]:
    """Number of steps of a checkpoint, and whether it was validated after the last one."""
    return (0, True) if stored is None else (int(stored["global_step"]), not stored.get("validation_pending"))


def _fit(
    trainer: Trainer, model: RestorationModel, data: Data, resume: Path | None, begin: int, *, is_validated: bool
) -> int:
    """Train the remaining steps and validate; return the steps done, fewer than max_steps if a method stops early."""
    if begin < trainer.max_steps or not is_validated:  # else killed between its last step and its result
        trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True)
        if trainer.global_step == begin and not is_validated:  # without remaining steps Lightning's fit does nothing
            trainer.validate(model, datamodule=data, verbose=False)
    return max(begin, trainer.global_step)


def set_threads_and_seed(threads: int | None, seed: int) -> None:
    """Set this process's number of threads (None keeps PyTorch's default) and the seed of all random numbers."""
    if threads is not None:
        torch.set_num_threads(threads)
    seed_everything(seed, verbose=False)


def _facts(trainer: Trainer, data: Data, fingerprints: Mapping[str, str], warnings: Sequence[str]) -> dict[str, Any]:
    """Entries of ``environment.json`` for this start, except versions and the machine."""
    return {
        "device": str(trainer.strategy.root_device),
        "processes": trainer.world_size,
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
        "data": fingerprints,
        "held_out": data.held_out if isinstance(data, PairedData) else [],
        "warnings": [*data.warnings, *warnings],
    }


def _damaged(folder: Path, trainer: Trainer, resume: Path | None) -> tuple[dict[Path, str], dict[Path, str]]:
    """Find damaged checkpoints and small files of the run, log a sentence about each, and return both by path.

    Args:
        resume: the run's own checkpoint; None for a new run, where no file can be missing.
    """
    has_metrics = any(isinstance(logger, MetricsCSV) for logger in trainer.loggers)
    needed = ["config.yaml", "environment.json", *(["metrics.csv"] if has_metrics else [])]
    small = small_files(folder, needed=[] if resume is None else needed)
    checkpoints = {} if resume is None else damaged_checkpoints(folder, resume)
    for warning in (*checkpoints.values(), *small.values()):
        log.warning(warning)
    return checkpoints, small


def _begin_metrics(trainer: Trainer, begin: int) -> None:
    """Read the sound rows of ``metrics.csv``, before a damaged file is set aside."""
    for logger in trainer.loggers:
        if isinstance(logger, MetricsCSV):
            logger.begin_at(begin)


def _log_start(model: RestorationModel, trainer: Trainer, begin: int, *, is_resumed: bool) -> None:
    millions = sum(p.numel() for p in model.network.parameters()) / 1e6
    device = trainer.strategy.root_device
    log.info("%s: %.3f M parameters, %s on %s", model.method, millions, counted(trainer.max_steps, "step"), device)
    if is_resumed:
        log.info("resumed at step %d", begin)


def _test_kept(trainer: Trainer, data: Data, folder: Path, trained: RestorationModel) -> Sequence[Mapping[str, float]]:
    """Test the weights that are kept, ``best.ckpt``; one mapping of scores per test set."""
    best = folder / "checkpoints" / "best.ckpt"
    if not collectives.broadcast(best.exists(), 0):
        raise FileNotFoundError(f"run_id: {best} is missing; remove the run folder, or use another run_id")
    model = loading.load_model(best, trained_by=type(trained))
    model.keep = trained.kept
    return trainer.test(model, datamodule=data, verbose=False)


def _result(
    folder: Path,
    model: RestorationModel,
    trainer: Trainer,
    timer: RunTimer,
    batch_size: int,
    steps: int,
    scores: Sequence[Mapping[str, float]],
) -> dict[str, Any]:
    """The content of ``result.json``."""
    return {
        "monitor": f"{model.kept}/{model.monitor}",
        "kept": model.kept,
        "value": model.best,
        "protocol": model.protocol,
        "metrics": {key: float(value) for score in scores for key, value in score.items() if key != "step"},
        "steps": steps,
        "seconds": round(timer.seconds_before + timer.seconds, 1),
        "steps_run": timer.batches // trainer.accumulate_grad_batches,
        "seconds_run": round(timer.seconds, 1),
        "samples_per_s": round(timer.batches * batch_size / timer.seconds, 2) if timer.batches else None,
        "processes": trainer.world_size,
        "warnings": run_folder.warnings(folder),
    } | ({"training": model.record} if model.record else {})
