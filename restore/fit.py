"""``restore fit``: trains, validates, tests, and leaves a run folder that describes itself."""

import json
import logging
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from restore import run_folder
from restore.config import build, command

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

log = logging.getLogger(__name__)


def fit(cfg: DictConfig) -> float:
    """Run one training job and return the monitored value."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    cfg.run_token = run_folder.run_token(folder)
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    with run_folder.locked(folder):
        checkpoint = run_folder.resume_point(folder, config, cfg.resume)
        result = run_folder.result(folder)
        if result is None:
            result = _train(cfg, config, folder, checkpoint)
        else:
            log.info("this run is already finished")
    log.info("%s = %.4f after %d steps; everything is in %s", *_summary(result), folder)
    return float(result["value"])


def _summary(result: dict[str, Any]) -> tuple[str, float, int]:
    return result["monitor"], result["value"], result["steps"]


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
    if resume is not None:
        log.info("resumed at step %d", checkpoint.resumable_step(resume, model, trainer.max_steps))
    started = time.perf_counter()
    try:
        trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt("the same command with the same run_id goes on from the last checkpoint") from None
    seconds = time.perf_counter() - started
    best = checkpoint.load_model(folder / "checkpoints" / "best.ckpt")
    scores = trainer.test(best, datamodule=data, verbose=False)
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
    if cfg.init_from is not None:
        report = model.init_from(checkpoint.network_weights(checkpoint.read(cfg.init_from), "ema"))
        for key, names in report.items():
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
    for key in ("trainer.max_steps", "trainer.accumulate_grad_batches", "val_every_steps"):
        value = OmegaConf.select(cfg, key)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{key} is {value}, expected a whole number, at least 1")
    if settings.devices not in (1, "1"):
        raise ValueError(f"trainer.devices is {settings.devices}, expected 1; several processes are not supported yet")
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
