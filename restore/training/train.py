"""One training, in this process: model and data that fit each other, and a run folder that describes itself."""

import json
import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything

from restore.callbacks.metrics_csv import MetricsCSV
from restore.checkpoints import reader
from restore.config.build import build
from restore.config.log_filters import quieten
from restore.distributed import collectives
from restore.io import files
from restore.models import loading
from restore.runs import folder as run_folder
from restore.runs.report import write_report
from restore.runs.resume import damage, set_aside
from restore.training.trainer import finishing, make_trainer

log = logging.getLogger(__name__)


def train(cfg: Any, config: dict[str, Any], overrides: list[str], folder: Path, resume: Path | None) -> dict[str, Any]:
    """Train in this process, alone or as one of several.

    Args:
        cfg: the root of ``restore fit``. config: the same, resolved and plain.
        overrides: of the command line. folder: of the run. resume: the checkpoint to go on from.

    Returns:
        The result, which the first process has written.
    """
    if cfg.seed < 0:
        raise ValueError(f"seed is {cfg.seed}, expected a whole number, at least 0")

    quieten()
    prepare(cfg)
    is_new_run = resume is None or resume.parent != folder / "checkpoints"
    model, data = model_and_data(cfg, is_resumed=resume is not None)
    trainer, timer = make_trainer(cfg, folder, model, is_new_run=is_new_run)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if hasattr(callback, "check"):  # ours that need a certain network, asked before the folder is described
            callback.check(model)
    begin = 0 if resume is None else begin_at(model, trainer, timer, resume)
    damaged = {} if resume is None or is_new_run else damage(folder, resume)
    _describe(config, overrides, folder, model, trainer, data, warnings=list(damaged.values()))
    set_aside(damaged)
    if is_new_run and trainer.is_global_zero:  # only now that settings and data were found sound
        run_folder.clear(folder)
    for logger in trainer.loggers:
        if isinstance(logger, MetricsCSV):
            logger.begin_at(begin)
    if resume is not None:
        log.info("resumed at step %d", begin)
    with finishing(trainer):
        if begin < trainer.max_steps:  # else the run was killed between its last step and its result
            trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True)
        done = max(begin, trainer.global_step)  # fewer than max_steps where a method stops by itself
        best = folder / "checkpoints" / "best.ckpt"
        if not collectives.broadcast(best.exists(), 0):
            raise FileNotFoundError(f"run_id: {best} is gone; remove the run folder, or use another run_id")
        scores = trainer.test(loading.load_model(best), datamodule=data, verbose=False)
    result = _result(folder, model, trainer, timer, data, done, scores)
    if trainer.is_global_zero:
        files.write_text(folder / "result.json", json.dumps(result, indent=2) + "\n")
        write_report(folder, f"finished after {done} steps")
    return result


def _result(
    folder: Path, model: Any, trainer: Any, timer: Any, data: Any, done: int, scores: list[Any]
) -> dict[str, Any]:
    return {
        "monitor": f"best/{model.monitor}",
        "value": model.best,
        "protocol": model.protocol,
        "metrics": {key: float(value) for score in scores for key, value in score.items() if key != "step"},
        "steps": done,
        "seconds": round(timer.seconds_before + timer.seconds, 1),
        "steps_run": timer.batches // trainer.accumulate_grad_batches,
        "seconds_run": round(timer.seconds, 1),
        "samples_per_s": round(timer.batches * data.batch_size / timer.seconds, 2) if timer.batches else None,
        "processes": trainer.world_size,
        "warnings": run_folder.warnings(folder),
    } | ({"training": model.record} if model.record else {})


def begin_at(model: Any, trainer: Any, timer: Any, resume: Path) -> int:
    """The step a resumed run begins at; its score and its seconds so far go on."""
    stored = loading.resumable(resume, model, trainer.accumulate_grad_batches)
    begin, last = int(stored["global_step"]), trainer.max_steps
    if begin >= last and timer.is_new_run:
        raise ValueError(f"resume: {resume} is at step {begin}, trainer.max_steps is {last}; set it higher")
    if not timer.is_new_run:
        timer.load_state_dict(stored["callbacks"][timer.state_key])
        model.best, model.record = stored["restore"]["best"], stored["restore"].get("record", {})
    return begin


def _describe(
    config: dict[str, Any],
    overrides: list[str],
    folder: Path,
    model: Any,
    trainer: Any,
    data: Any,
    *,
    warnings: list[str],
) -> None:
    for warning in warnings:
        log.warning(warning)
    device = str(trainer.strategy.root_device)
    fingerprints = data.prepare()  # in every process: it keeps decoded images
    facts = {
        "device": device,
        "processes": trainer.world_size,
        "threads": torch.get_num_threads(),
        "data": fingerprints,
        "warnings": [*data.warnings, *warnings],
    }
    if trainer.is_global_zero:
        run_folder.describe(folder, config, overrides, facts)
    parameters = sum(p.numel() for p in model.network.parameters())
    log.info("%s: %.3f M parameters, %d steps on %s", model.method, parameters / 1e6, trainer.max_steps, device)


def prepare(cfg: Any) -> None:
    """Set the process's threads and the seed of everything that draws."""
    if cfg.threads is not None:
        if cfg.threads < 1:
            raise ValueError(f"threads is {cfg.threads}, expected at least 1, or null for as many as torch takes")
        torch.set_num_threads(cfg.threads)
    seed_everything(cfg.seed, verbose=False)


def model_and_data(cfg: Any, *, is_resumed: bool) -> tuple[Any, Any]:
    """The model and its data, which fit each other."""
    model = build(cfg.model, "model")
    data = build(cfg.data, "data", seed=cfg.seed)
    _refuse_other_kind(model.method, str(cfg.data._target_))
    if data.scale != model.scale:
        raise ValueError(f"data.scale is {data.scale}, model.scale is {model.scale}; leave data.scale out")
    if data.patch_size // data.scale % model.multiple_of:
        raise ValueError(
            f"data.patch_size is {data.patch_size}, expected a multiple of {model.multiple_of * data.scale}, "
            f"because {model.method} halves its input on the way"
        )
    if data.patch_size // data.scale < model.min_size:
        raise ValueError(
            f"data.patch_size is {data.patch_size}, expected at least {model.min_size * data.scale}, "
            f"because {model.method} halves its input on the way"
        )
    if cfg.init_from is not None and not is_resumed:
        weights = reader.network_weights(reader.read(cfg.init_from, setting="init_from"), "ema")
        report = model.network.init_from(weights)
        for key, names in report.items():
            if names:
                log.info("init_from: %d %s weights %s", len(names), key, ", ".join(names[:10]))
    return model, data


def _refuse_other_kind(method: str, target: str) -> None:
    """One method makes its pairs from one picture while it trains, which no other reads, and it reads no others."""
    is_zero_shot, is_single = method == "zero_shot", target.endswith(".SingleImageData")
    if is_zero_shot and not is_single:
        raise ValueError("data is one of many pictures, but model=zero_shot trains on one; set data=single_image")
    if is_single and not is_zero_shot:
        raise ValueError(f"data is one picture, which only model=zero_shot trains on; {method} needs another data=...")
