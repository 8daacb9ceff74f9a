"""The checks of ``restore check``, in order: data, dry run, checkpoint, memory, disk, forecast."""

import functools
import io
import os
import shutil
import time
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.filesize import decimal

from restore.callbacks.contract import Staged
from restore.config.inference import Inference
from restore.config.log_filters import filter_lightning_logs
from restore.distributed.environment import ProcessInfo
from restore.inference.load import open_restorer
from restore.io.wording import counted
from restore.models import loading
from restore.models.base import RestorationModel
from restore.preflight import memory
from restore.preflight.data_files import open_files
from restore.preflight.findings import Findings
from restore.training.dry_run import Measured, dry_run
from restore.training.forecast import PlannedRun, Rest, forecast
from restore.training.max_time import TimeSlot, time_slot
from restore.training.parts import Data, model_and_data, read_resume
from restore.training.step_budget import kept_plan, planned, stage_shares
from restore.training.train import set_threads_and_seed
from restore.training.trainer import check_settings

if TYPE_CHECKING:
    from restore.config.schemas import CheckSettings, FitConfig

TIGHT = 0.9  # fraction of the available amount above which a warning is given
SHARE_OF_DATA = 0.2  # fraction of a step spent waiting for data, above which data is the bottleneck


def examine(
    cfg: "FitConfig",
    settings: "CheckSettings",
    process: ProcessInfo,
    resume: Path | None,
    run_folder: Path,
    folder: Path,
    findings: Findings,
) -> dict[str, Any]:
    """Check everything that a run needs, and try each part of it.

    Args:
        cfg: root of the run. settings: of the check. process: the first process of the run.
        resume: the checkpoint to resume from, if any. run_folder: the run's folder; nothing is written there.
        folder: a temporary folder. findings: receives the results.

    Returns:
        The forecast as numbers.

    Raises:
        ValueError: ``fit`` would refuse the run.
    """
    started, load = time.perf_counter(), os.getloadavg()[0]
    filter_lightning_logs()
    set_threads_and_seed(cfg.threads, cfg.seed)
    check_settings(cfg)
    with findings.doing("model", "building it, and finding the images"):
        model, data = model_and_data(cfg, is_resumed=resume is not None, world_size=process.world_size)
        data.batch_size //= process.world_size
        begin, plan = 0, None
        if resume is not None:
            is_new_run = resume.parent != run_folder / "checkpoints"
            stored = read_resume(resume, model, cfg.trainer, is_new_run=is_new_run)
            begin, plan = int(stored["global_step"]), None if is_new_run else kept_plan(stored)
    reading = time.perf_counter()
    with findings.doing("data", "opening the files"):
        rest = open_files(data, settings.files, known_counts=settings.known_counts, findings=findings)
    before = reading - started + (time.perf_counter() - reading - rest.packed) * rest.files
    steps, best = cfg.trainer.max_steps if plan is None else plan.max_steps, folder / "checkpoints" / "best.ckpt"
    stages = model.stage_lengths(steps) if isinstance(model, Staged) else {"training": steps}
    run = PlannedRun(stages, begin, cfg.val_every_steps, cfg.checkpoint.every_steps, process.world_size)
    shares, trying = stage_shares(model), time.perf_counter()
    saying = functools.partial(findings.doing, "dry run")
    with redirect_stdout(io.StringIO()):  # the scores mean nothing
        measured = dry_run(cfg, settings.steps, best, model, data, len(stages), saying, devices=1, num_nodes=1)
    findings.add("data path", f"{1e3 * measured.sample:.1f} ms a training sample, in one process")
    slot = time_slot(cfg.trainer.max_time, None)
    if slot is not None and plan is None:
        left = slot.seconds - before - (time.perf_counter() - trying)  # fit makes a dry run, too
        run = _in_slot(slot, left, run._replace(stages=shares), measured, rest, findings)
    peak, checkpoint = memory.peak_bytes(measured.device), best.stat().st_size
    with findings.doing("checkpoint", "loading it again, and restoring an image with it"):
        _try_checkpoint(best, model, data, findings)
    if measured.device != "cuda":
        peak = (peak + rest.cache_bytes) * process.local_world_size
    _compare_with_machine(peak, checkpoint, load, measured.device, process, findings)
    seconds = forecast(run, measured, rest, before)
    _report_time(run, measured, seconds, findings)
    per_step = dict(zip(stages, measured.step.tolist(), strict=True))
    return {"seconds": seconds, "seconds_per_step": per_step, "peak_bytes": peak, "checkpoint_bytes": checkpoint}


def _in_slot(
    slot: TimeSlot, left: float, run: PlannedRun, measured: Measured, rest: Rest, findings: Findings
) -> PlannedRun:
    """The run with the number of steps that ``fit`` would choose for ``trainer.max_time``."""
    steps = planned(slot.seconds, left, run, measured, rest).max_steps
    findings.add("trainer.max_time", f"about {counted(steps, 'step')} in {slot}")
    return run._replace(stages={name: round(share * steps) for name, share in run.stages.items()})


def _try_checkpoint(file: Path, model: RestorationModel, data: Data, findings: Findings) -> None:
    """Check that the reloaded checkpoint gives the same output, and that ``predict`` can use it."""
    loaders: Any = data.val_dataloader()
    # the first validation image, which is the largest: (C, H, W)
    lq: torch.Tensor = (loaders[0] if isinstance(loaders, list) else loaders).dataset[0]["lq"]
    part, own, opened = (
        lq[None, :, :64, :64],
        model.cpu().eval(),
        loading.load_model(file, "raw", trained_by=type(model)),
    )
    with torch.inference_mode():
        same = torch.equal(own.restore_whole(part), opened.restore_whole(part))
    told = "the same output" if same else "another output; please report this"
    text = f"{decimal(file.stat().st_size)}; loaded again it gives {told}"
    findings.add("checkpoint", text, "good" if same else "bad")
    pred = open_restorer(str(file), inference=Inference(device="cpu")).restore(lq)
    text = f"{lq.shape[2]}x{lq.shape[1]} px became {pred.shape[2]}x{pred.shape[1]} px"
    findings.add("predict", text, "good" if bool(torch.isfinite(pred).all()) else "bad")


def _compare_with_machine(
    peak: int, checkpoint: int, load: float, device: str, process: ProcessInfo, findings: Findings
) -> None:
    """Check that memory and disk suffice for the peak and the checkpoints (bytes), and look for other programs."""
    processes = 1 if device == "cuda" else process.local_world_size
    why = f"at the peak of {processes} processes" if processes > 1 else "at the peak"
    remedy = "lower data.batch_size, data.patch_size or data.cache_gb"
    _compare("memory", peak, why, memory.available_bytes(device), remedy, findings)
    # last.ckpt, the previous one, best.ckpt, and the one being written
    free = shutil.disk_usage(Path.cwd()).free
    _compare("disk", 4 * checkpoint, "for checkpoints", free, "free disk space", findings)
    cores = os.cpu_count() or 1
    if load > cores:
        text = f"load average {load:.1f} on {cores} cores: other programs slow the run down, and the forecast with it"
        findings.add("machine", text, "warning")


def _compare(what: str, needed: int, why: str, available: int, remedy: str, findings: Findings) -> None:
    """Check that the bytes needed are available."""
    text = f"{decimal(needed)} {why}, {decimal(available)} available"
    if needed > available:
        findings.add(what, f"{text}; {remedy}", "bad")
    else:
        findings.add(what, text, "warning" if needed > TIGHT * available else "good")


def _report_time(run: PlannedRun, measured: Measured, seconds: dict[str, float], findings: Findings) -> None:
    """Report the time of each stage, of the whole run and its parts, and what to change first to make it faster."""
    stages = zip(run.stages.items(), run.left, measured.step, measured.wait, strict=True)
    for (name, length), left, step, wait in stages:
        steps = f"{left} of {length}" if run.begin else length
        text = f"{1e3 * step:.0f} ms a step, {wait / step:.0%} of it waiting for data; {steps} steps"
        findings.add(f"stage: {name}", text)
    total = sum(seconds.values())
    parts = ", ".join(f"{name} {timedelta(seconds=round(part))}" for name, part in seconds.items())
    of = f" for each of {run.processes} processes, without their communication" if run.processes > 1 else ""
    findings.add("time", f"about {timedelta(seconds=round(total))}{of}: {parts}")
    validation, waiting = seconds["validation"] / total, measured.wait.sum() / measured.step.sum()
    text, verdict = f"compute, {1 - waiting:.0%} of a step", "good"
    if validation > 0.5:
        text = f"validation, {validation:.0%} of the run; raise val_every_steps, or set data.val_limit"
        verdict = "warning"
    elif waiting > SHARE_OF_DATA:
        text = f"data, {waiting:.0%} of a step waits for it; raise data.num_workers or data.cache_gb, or set data.pack"
        verdict = "warning"
    findings.add("bottleneck", text, verdict)
