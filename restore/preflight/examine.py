"""The order of ``restore check``: data, dry run, checkpoint, memory, disk, forecast."""

import copy
import os
import time
from pathlib import Path
from typing import Any

from restore.config.log_filters import filter_lightning_logs
from restore.distributed.environment import ProcessInfo
from restore.preflight import findings
from restore.preflight.dry_run import dry_run, limit_images, period, stage_lengths
from restore.preflight.findings import Report
from restore.preflight.forecast import Forecast, Plan, forecast
from restore.training.train import model_and_data, resumable, set_threads_and_seed
from restore.training.trainer import check_settings, wanted_loggers


def examine(
    cfg: Any, process: ProcessInfo, resume: Path | None, run_folder: Path, folder: Path, report: Report
) -> dict[str, Any]:
    """Look at everything a run needs, and try each part of it.

    Args:
        cfg: the root of ``restore check``. process: the first of the run's.
        resume: the checkpoint that the run resumes from. run_folder: of the run; nothing is written there.
        folder: a temporary one. report: gets the findings.

    Returns:
        The forecast in numbers.

    Raises:
        ValueError: what ``fit`` would refuse.
    """
    started, load = time.perf_counter(), os.getloadavg()[0]
    filter_lightning_logs()
    set_threads_and_seed(cfg)
    check_settings(cfg)
    wanted_loggers(cfg)
    model, data = model_and_data(cfg, is_resumed=resume is not None, world_size=process.world_size)
    data.batch_size //= process.world_size
    begin = 0
    if resume is not None:
        is_new_run = resume.parent != run_folder / "checkpoints"
        begin = int(resumable(resume, model, cfg.trainer, is_new_run=is_new_run)["global_step"])
    report.doing("data", "opening the files")
    reading = time.perf_counter()
    opened = findings.open_files(data, cfg.check.files)
    read = time.perf_counter()
    report.add(findings.of_data(data, opened, known_counts=cfg.check.known_counts))
    plan = Plan(
        stages=stage_lengths(model, cfg.trainer.max_steps),
        val_every=cfg.val_every_steps,
        save_every=cfg.checkpoint.every_steps,
        batch_size=data.batch_size,
        begin=begin,
        accumulate=cfg.trainer.accumulate_grad_batches,
        period=period(model),
        workers=getattr(data, "num_workers", 0),
        processes=process.world_size,
        pixels=limit_images(data, opened.tests),
    )
    report.doing("dry run", "training, validating, saving and testing for a few steps")
    measured = dry_run(_single_process(cfg, folder), folder, model, data)
    report.add(findings.of_checkpoint(model, data, measured, folder / "checkpoints" / "best.ckpt"))
    needed = measured.peak_bytes
    if measured.device != "cuda":
        needed = (needed + findings.uncached_bytes(data, opened)) * process.local_world_size
    report.add([findings.of_memory(needed, measured.device, process.local_world_size)])
    report.add([findings.of_disk(measured.checkpoint_bytes)])
    before = reading - started + (read - reading) * opened.total / opened.opened
    ahead = forecast(measured, plan, before)
    report.add(findings.of_load(load))
    report.add(findings.of_forecast(ahead, plan))
    return _facts(ahead) | {"peak_bytes": needed, "checkpoint_bytes": measured.checkpoint_bytes}


def _single_process(cfg: Any, folder: Path) -> Any:
    """The configuration of a run of one process that writes to ``folder`` and to no dashboard."""
    cfg = copy.deepcopy(cfg)
    # not the strategy: it is looked at as fit does, and one process has none
    cfg.trainer.devices = cfg.trainer.num_nodes = 1
    cfg.checkpoint.artifacts = False
    cfg.logger = {key: node for key, node in (cfg.logger or {}).items() if key == "csv"}
    if cfg.logger.get("csv") is not None:
        cfg.logger.csv.folder = str(folder)
    if cfg.callbacks is not None and "progress" in cfg.callbacks:
        cfg.callbacks.progress = None
    return cfg


def _facts(ahead: Forecast) -> dict[str, Any]:
    """The forecast for programs, in seconds."""
    names = ("before", "start", "steps", "change", "validations", "saves", "test", "training", "total")
    return {
        "seconds": {name: float(getattr(ahead, name)) for name in names},
        "seconds_per_step": {name: step.seconds for name, step in ahead.step.items()},
        "waiting_share": ahead.waiting,
    }
