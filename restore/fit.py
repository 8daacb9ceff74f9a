"""``restore fit``: trains, validates, tests, and leaves a run folder that describes itself."""

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from restore import run_folder
from restore.config import build, command

log = logging.getLogger(__name__)


def fit(cfg: DictConfig) -> float:
    """Run one training job and return the monitored value."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with run_folder.locked(folder):
        try:
            cfg.run_token = run_folder.run_token(folder)
            result = _resume_or_train(cfg, folder)
        finally:
            run_folder.discard_unused(folder)
    where = os.path.relpath(folder)
    log.info("%s = %.4f after %d steps; all of it: %s", result["monitor"], result["value"], result["steps"], where)
    return float(result["value"])


def _resume_or_train(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    checkpoint = run_folder.resume_point(folder, config, cfg.resume)
    result = run_folder.result(folder)
    if result is None:
        return _train(cfg, config, folder, checkpoint)
    log.info("this run is already finished")
    return result


def _train(cfg: DictConfig, config: dict[str, Any], folder: Path, resume: Path | None) -> dict[str, Any]:
    from restore import checkpoint, training
    from restore.callbacks.metrics_csv import MetricsCSV
    from restore.quieten import quieten

    quieten()
    prepare(cfg)
    is_new_run = resume is None or resume.parent != folder / "checkpoints"
    model, data = model_and_data(cfg, is_resumed=resume is not None)
    trainer, steps = training.make_trainer(cfg, folder, is_new_run=is_new_run)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if hasattr(callback, "check"):  # ours that need a certain network, asked before the folder is described
            callback.check(model)
    begin = 0 if resume is None else _begin(model, trainer, resume, is_new_run=is_new_run)
    _describe(cfg, config, folder, model, trainer, data)
    if is_new_run:  # only now that settings and data were found sound
        run_folder.clear(folder)
    for logger in trainer.loggers:
        if isinstance(logger, MetricsCSV):
            logger.begin_at(begin)
    if resume is not None:
        log.info("resumed at step %d", begin)
    started = time.perf_counter()
    with training.interruptions(folder), training.finishing(trainer):
        if begin < trainer.max_steps:  # else the run was killed between its last step and its result
            trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True)
        done = max(begin, trainer.global_step)  # fewer than max_steps where a method stops by itself
        seconds = time.perf_counter() - started
        best = folder / "checkpoints" / "best.ckpt"
        if not best.exists():
            raise FileNotFoundError(f"run_id: {best} is gone; remove the run folder, or use another run_id")
        scores = trainer.test(checkpoint.load_model(best), datamodule=data, verbose=False)
    result = {
        "monitor": f"best/{model.monitor}",
        "value": model.best,
        "protocol": model.protocol,
        "metrics": {key: float(value) for score in scores for key, value in score.items()},
        "steps": done,
        "steps_run": steps.batches // trainer.accumulate_grad_batches,
        "seconds": round(seconds, 1),
        "samples_per_s": round(steps.batches * data.batch_size / seconds, 2),
        "warnings": data.warnings,
    } | ({"training": model.record} if model.record else {})
    run_folder.write_text(folder / "result.json", json.dumps(result, indent=2) + "\n")
    return result


def _begin(model: Any, trainer: Any, resume: Path, *, is_new_run: bool) -> int:
    """The step a resumed run begins at."""
    from restore import checkpoint

    stored = checkpoint.resumable(resume, model, trainer.accumulate_grad_batches)
    begin, last = int(stored["global_step"]), trainer.max_steps
    if begin >= last and is_new_run:
        raise ValueError(f"resume: {resume} is at step {begin}, trainer.max_steps is {last}; set it higher")
    if not is_new_run:
        model.best, model.record = stored["restore"]["best"], stored["restore"].get("record", {})
    return begin


def _describe(cfg: DictConfig, config: dict[str, Any], folder: Path, model: Any, trainer: Any, data: Any) -> None:
    import torch

    device = str(trainer.strategy.root_device)
    fingerprints = data.check()  # finds the warnings on the way
    facts = {"device": device, "threads": torch.get_num_threads(), "data": fingerprints, "warnings": data.warnings}
    run_folder.describe(folder, config, list(HydraConfig.get().overrides.task), facts)
    parameters = sum(p.numel() for p in model.network.parameters())
    log.info("%s: %.3f M parameters, %d steps on %s", model.method, parameters / 1e6, trainer.max_steps, device)


def prepare(cfg: DictConfig) -> None:
    """Set the process's threads and the seed of everything that draws."""
    import torch
    from lightning.pytorch import seed_everything

    if cfg.seed < 0:
        raise ValueError(f"seed is {cfg.seed}, expected a whole number, at least 0")
    if cfg.threads is not None:
        if cfg.threads < 1:
            raise ValueError(f"threads is {cfg.threads}, expected at least 1, or null for as many as torch takes")
        torch.set_num_threads(cfg.threads)
    seed_everything(cfg.seed, verbose=False)


def model_and_data(cfg: DictConfig, *, is_resumed: bool) -> tuple[Any, Any]:
    """The model and its data, which fit each other."""
    from restore import checkpoint

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
        weights = checkpoint.network_weights(checkpoint.read(cfg.init_from, setting="init_from"), "ema")
        report = model.init_from(weights)
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


main = command(fit, "fit")

if __name__ == "__main__":
    main()
