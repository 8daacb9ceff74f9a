"""``restore fit``: trains, validates, tests, and leaves a run folder that describes itself."""

import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from restore import run_folder
from restore.config import build, command

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

log = logging.getLogger(__name__)

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")


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
    import torch

    from restore import checkpoint

    _quieten()
    _seed(cfg)
    model, data = _model_and_data(cfg)
    trainer, steps = _trainer(cfg, folder)
    device = str(trainer.strategy.root_device)
    facts = {"device": device, "threads": torch.get_num_threads(), "data": data.check()}
    run_folder.describe(folder, config, list(HydraConfig.get().overrides.task), facts)
    parameters = sum(p.numel() for p in model.network.parameters())
    log.info("%s: %.3f M parameters, %d steps on %s", model.method, parameters / 1e6, trainer.max_steps, device)
    stored = None if resume is None else checkpoint.resumable(resume, model, trainer.accumulate_grad_batches)
    begin = 0 if stored is None else int(stored["global_step"])
    is_own = resume is not None and resume.parent == folder / "checkpoints"
    if begin >= trainer.max_steps and not is_own:
        raise ValueError(
            f"resume: {resume} is at step {begin}, trainer.max_steps is {trainer.max_steps}; set it higher"
        )
    started = time.perf_counter()
    with _interruptions(folder):
        if stored is not None:
            log.info("resumed at step %d", begin)
            model.best = stored["restore"]["best"]
        if begin < trainer.max_steps:  # else the run was killed between its last step and its result
            trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True)
        seconds = time.perf_counter() - started
        best = checkpoint.load_model(folder / "checkpoints" / "best.ckpt")
        scores = trainer.test(best, datamodule=data, verbose=False)
    for logger in trainer.loggers:
        finish = getattr(getattr(logger, "experiment", None), "finish", None)
        if finish is not None:  # Weights & Biases: the next job of a sweep is another run
            finish()
    result = {
        "monitor": f"best/{model.monitor}",
        "value": model.best,
        "protocol": model.protocol,
        "metrics": {key: float(value) for score in scores for key, value in score.items()},
        "steps": trainer.max_steps,
        "steps_run": steps.batches // trainer.accumulate_grad_batches,
        "seconds": round(seconds, 1),
        "samples_per_s": round(steps.batches * data.batch_size / seconds, 2),
    }
    run_folder.write_text(folder / "result.json", json.dumps(result, indent=2) + "\n")
    return result


@contextmanager
def _interruptions(folder: Path) -> Iterator[None]:
    """Give Ctrl-C and SIGTERM, which Lightning turns into exits of its own, their usual status and a word."""
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    remedy = f"Start the same command with run_id={folder.name} again to go on from the last checkpoint"
    try:
        yield
    except SIGTERMException:
        log.warning("terminated. %s", remedy)
        raise SystemExit(143) from None
    except SystemExit:
        raise KeyboardInterrupt(remedy) from None


def _seed(cfg: DictConfig) -> None:
    import torch
    from lightning.pytorch import seed_everything

    if cfg.seed < 0:
        raise ValueError(f"seed is {cfg.seed}, expected a whole number, at least 0")
    if cfg.threads is not None:
        if cfg.threads < 1:
            raise ValueError(f"threads is {cfg.threads}, expected at least 1, or null for as many as torch takes")
        torch.set_num_threads(cfg.threads)
    seed_everything(cfg.seed, verbose=False)


def _model_and_data(cfg: DictConfig) -> tuple[Any, Any]:
    from restore import checkpoint

    model = build(cfg.model, "model")
    data = build(cfg.data, "data", seed=cfg.seed)
    if data.scale != model.scale:
        raise ValueError(f"data.scale is {data.scale}, model.scale is {model.scale}; leave data.scale out")
    if cfg.init_from is not None:
        weights = checkpoint.network_weights(checkpoint.read(cfg.init_from, setting="init_from"), "ema")
        report = model.init_from(weights)
        for key, names in report.items():
            if names:
                log.info("init_from: %d %s weights %s", len(names), key, ", ".join(names[:10]))
    return model, data


def _trainer(cfg: DictConfig, folder: Path) -> tuple["Trainer", Any]:
    """The Trainer, with what makes a run resumable, and the callback that counts its batches."""
    from restore.callbacks.curves import Curves
    from restore.callbacks.non_finite import StopOnNonFinite
    from restore.callbacks.run_checkpoint import AtomicCheckpointIO, RunCheckpoint
    from restore.callbacks.seed_steps import SeedSteps
    from restore.callbacks.step_log import StepLog

    settings = cfg.trainer
    _check_settings(cfg)
    steps, every = SeedSteps(seed=cfg.seed), cfg.checkpoint.every_steps
    callbacks = {
        key: build(node, f"callbacks.{key}") for key, node in (cfg.callbacks or {}).items() if node is not None
    }
    loggers = [build(node, f"logger.{key}") for key, node in (cfg.logger or {}).items() if node is not None]
    trainer = build(
        settings,
        "trainer",
        precision=_precision(settings.precision),
        default_root_dir=str(folder),
        logger=loggers,
        callbacks=[
            *callbacks.values(),
            steps,
            StopOnNonFinite(every_steps=every),
            StepLog(),
            Curves(),
            RunCheckpoint(every_steps=every),
        ],
        plugins=[AtomicCheckpointIO()],
        # the whole run is one epoch, so that a position in it is one number
        max_epochs=1,
        use_distributed_sampler=False,
        check_val_every_n_epoch=None,
        val_check_interval=cfg.val_every_steps * settings.accumulate_grad_batches,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar="progress" in callbacks,
    )
    return trainer, steps


def _check_settings(cfg: DictConfig) -> None:
    """Bounds of what Lightning would take, or refuse in its own words."""
    for key in ("max_steps", "accumulate_grad_batches", "log_every_n_steps", "val_every_steps"):
        place = key if key in cfg else f"trainer.{key}"
        value = OmegaConf.select(cfg, place)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{place} is {value}, expected a whole number, at least 1")
    trainer = cfg.trainer
    if trainer.devices not in (1, "1"):
        raise ValueError(f"trainer.devices is {trainer.devices}, expected 1; several processes are not supported yet")
    if trainer.precision not in PRECISIONS:
        raise ValueError(f"trainer.precision is {trainer.precision}, expected one of {', '.join(PRECISIONS)}")
    clip = trainer.gradient_clip_val
    if clip is not None and (not isinstance(clip, int | float) or clip <= 0):
        raise ValueError(f"trainer.gradient_clip_val is {clip}, expected a number above 0, or null")


def _precision(wanted: str) -> str:
    import torch

    if wanted != "auto":
        return str(wanted)
    return "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"


def _quieten() -> None:
    """Silence advice that does not fit how these runs work."""
    for message in (
        ".*does not have many workers.*",
        ".*resuming from a checkpoint that ended before the epoch ended.*",  # ours resume exactly
        ".*smaller than the logging interval.*",
        ".*Trying to infer the `batch_size`.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ):
        warnings.filterwarnings("ignore", message)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()  # ours are at the root; with both, every line came twice
        logging.getLogger(name).setLevel(logging.WARNING)


main = command(fit, "fit")

if __name__ == "__main__":
    main()
