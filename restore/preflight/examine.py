"""What ``restore check`` tries, in order: data, dry run, checkpoint, memory, disk, forecast."""

import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from restore.config.inference import Inference
from restore.config.log_filters import filter_lightning_logs
from restore.distributed.environment import ProcessInfo
from restore.inference.load import open_restorer
from restore.models import loading
from restore.models.base import RestorationModel
from restore.preflight import memory
from restore.preflight.dry_run import Measured, dry_run, stage_lengths
from restore.preflight.files import open_files
from restore.preflight.forecast import Forecast
from restore.preflight.report import Finding, Report, duration, size
from restore.training.train import Data, model_and_data, resumable, set_threads_and_seed
from restore.training.trainer import check_settings, wanted_loggers

TIGHT = 0.9  # of the available memory
SHARE_OF_DATA = 0.2  # of a step spent waiting for data, above which data is the bottleneck


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
    started, load, cores = time.perf_counter(), os.getloadavg()[0], os.cpu_count() or 1
    filter_lightning_logs()
    set_threads_and_seed(cfg)
    check_settings(cfg)
    wanted_loggers(cfg)
    report.doing("model", "building it, and finding the images")
    model, data = model_and_data(cfg, is_resumed=resume is not None, world_size=process.world_size)
    data.batch_size //= process.world_size
    begin = 0
    if resume is not None:
        is_new_run = resume.parent != run_folder / "checkpoints"
        begin = int(resumable(resume, model, cfg.trainer, is_new_run=is_new_run)["global_step"])
    report.doing("data", "opening the files")
    reading = time.perf_counter()
    files = open_files(data, cfg.check.files, known_counts=cfg.check.known_counts)
    before = reading - started + (time.perf_counter() - reading) * files.total_per_opened
    report.add(*files.findings)
    forecast = Forecast(
        stages=stage_lengths(model, cfg.trainer.max_steps),  # before the dry run shortens them
        measured=dry_run(cfg, folder, model, data, lambda what: report.doing("dry run", what)),
        val_every=cfg.val_every_steps,
        save_every=cfg.checkpoint.every_steps,
        before=before,
        begin=begin,
        processes=process.world_size,
        validation=files.validation,
        test=files.test,
    )
    measured = forecast.measured
    report.doing("checkpoint", "loading it again, and restoring an image with it")
    report.add(*_of_checkpoint(model, data, measured, folder / "checkpoints" / "best.ckpt"))
    needed = measured.peak_bytes
    if measured.device != "cuda":
        needed = (needed + files.uncached_bytes) * process.local_world_size
    report.add(_of_memory(needed, measured.device, process.local_world_size), _of_disk(measured.checkpoint_bytes))
    if load > cores:
        text = f"load average {load:.1f} on {cores} cores: other programs slow the run down, and the forecast with it"
        report.add(Finding("machine", text, "warning"))
    report.add(*_of_time(forecast), bottleneck(forecast))
    return forecast.facts() | {"peak_bytes": needed, "checkpoint_bytes": measured.checkpoint_bytes}


def _of_checkpoint(model: RestorationModel, data: Data, measured: Measured, file: Path) -> Iterator[Finding]:
    """Whether the loss is finite, whether the checkpoint gives the same output, and what ``predict`` makes of it."""
    yield Finding("data path", f"{1e3 * measured.sample:.1f} ms a training sample, in one process")
    if not math.isfinite(measured.loss):
        yield Finding("training", f"the loss is {measured.loss}; lower model.lr, or look at the data", "bad")
    loaders: Any = data.val_dataloader()
    # the first image validated on, which is the largest: (C, H, W)
    lq: torch.Tensor = (loaders[0] if isinstance(loaders, list) else loaders).dataset[0]["lq"]
    part, own, opened = lq[None, :, :64, :64], model.cpu().eval(), loading.load_model(file, "raw")
    with torch.inference_mode():
        same = torch.equal(own.restore_whole(part), opened.restore_whole(part))
    if same:
        text = f"{size(measured.checkpoint_bytes)}, saved in {measured.save:.2f} s; loaded again it gives the same"
        yield Finding("checkpoint", f"{text} output")
    else:
        yield Finding("checkpoint", "loaded again it gives another output; please report this", "bad")
    pred = open_restorer(str(file), inference=Inference(device="cpu")).restore(lq)
    text = f"{lq.shape[2]}x{lq.shape[1]} px became {pred.shape[2]}x{pred.shape[1]} px"
    yield Finding("predict", text, "good" if bool(torch.isfinite(pred).all()) else "bad")


def _of_memory(needed: int, device: str, processes: int) -> Finding:
    """Whether the memory suffices.

    Args:
        needed: bytes on this machine for all its ``processes``, or on the accelerator that each process has.
    """
    available, is_gpu = memory.available_bytes(device), device == "cuda"
    text = f"{size(needed)} at the peak" + (f" for {processes} processes" if processes > 1 and not is_gpu else "")
    if available is None:
        return Finding("memory", text)
    text += f", {'the accelerator' if is_gpu else 'this machine'} has {size(available)} available"
    if needed > available:
        return Finding("memory", f"{text}; lower data.batch_size, data.patch_size or data.cache_gb", "bad")
    return Finding("memory", text, "warning" if needed > TIGHT * available else "good")


def _of_disk(checkpoint_bytes: int) -> Finding:
    """Whether ``last.ckpt``, the one before it, ``best.ckpt`` and the one being written have room."""
    needed, free = 4 * checkpoint_bytes, shutil.disk_usage(Path.cwd()).free
    return Finding(
        "disk", f"{size(needed)} for checkpoints, {size(free)} free here", "bad" if needed > free else "good"
    )


def _of_time(forecast: Forecast) -> Iterator[Finding]:
    """Time of each stage, and of the whole run and its parts."""
    seconds, processes = forecast.seconds, forecast.processes
    for name, stage in forecast.measured.stages.items():
        steps = f"{forecast.steps_left[name]} of {forecast.stages[name]}" if forecast.begin else forecast.stages[name]
        text = f"{1e3 * stage.step:.0f} ms a step, {stage.wait / stage.step:.0%} of it waiting for data; {steps} steps"
        yield Finding(f"stage: {name}", text)
    parts = {
        "start": seconds["before"] + seconds["start"],
        "training": seconds["steps"] + seconds["change"],
        "validation": seconds["validations"],
        "checkpoints": seconds["saves"],
        "test": seconds["test"],
    }
    text = ", ".join(f"{name} {duration(part)}" for name, part in parts.items())
    of = f" for each of {processes} processes, without their communication" if processes > 1 else ""
    yield Finding("time", f"about {duration(seconds['total'])}{of}: {text}")


def bottleneck(forecast: Forecast) -> Finding:
    """What to change first to make the run faster."""
    validation, waiting = forecast.seconds["validations"] / forecast.seconds["total"], forecast.waiting
    if validation > 0.5:
        text = f"validation, {validation:.0%} of the run; raise val_every_steps, or set data.val_limit"
        return Finding("bottleneck", text, "warning")
    if waiting > SHARE_OF_DATA:
        text = f"data, {waiting:.0%} of a step waits for it; raise data.num_workers or data.cache_gb"
        return Finding("bottleneck", text, "warning")
    return Finding("bottleneck", f"compute, {1 - waiting:.0%} of a step")
