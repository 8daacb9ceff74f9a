"""Builds the Trainer of a run: with it the run is one epoch that can be cut anywhere and goes on exactly."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, Strategy

from restore.callbacks.curves import Curves
from restore.callbacks.dashboards import Dashboard, connect, refuse_unusable
from restore.callbacks.graceful_stop import GracefulStop
from restore.callbacks.image_scores import ImageScores
from restore.callbacks.non_finite import StopOnNonFinite
from restore.callbacks.run_checkpoint import RunCheckpoint
from restore.callbacks.run_report import RunReport
from restore.callbacks.run_timer import RunTimer
from restore.callbacks.seed_steps import SeedSteps
from restore.callbacks.stage_report import StageReport
from restore.callbacks.step_log import StepLog
from restore.checkpoints.atomic_io import AtomicCheckpointIO
from restore.config.build import build
from restore.distributed.environment import Place, own_place
from restore.distributed.signals import StopRequested
from restore.models.base import RestorationModel

log = logging.getLogger(__name__)

PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed", "16-mixed")
STRATEGIES = ("auto", "ddp", "ddp_find_unused", "fsdp")


def make_trainer(cfg: Any, folder: Path, model: RestorationModel, *, is_new_run: bool) -> tuple[Trainer, RunTimer]:
    """The Trainer, with what makes a run resumable, and the callback that counts.

    Args:
        cfg: the root of ``restore fit``.
        folder: of the run.
        model: to be trained.
        is_new_run: false when the run goes on from its own checkpoint.

    Raises:
        ValueError: a setting out of its bounds.
    """
    settings, place = cfg.trainer, own_place()
    _check_settings(cfg)
    timer = RunTimer(is_new_run=is_new_run)
    callbacks = {
        key: build(node, f"callbacks.{key}") for key, node in (cfg.callbacks or {}).items() if node is not None
    }
    wanted = {key: node for key, node in (cfg.logger or {}).items() if node is not None}
    refuse_unusable(wanted, artifacts=cfg.checkpoint.artifacts)
    loggers = [build(node, f"logger.{key}") for key, node in wanted.items()]
    trainer = build(
        settings,
        "trainer",
        precision=_precision(settings.precision),
        default_root_dir=str(folder),
        logger=loggers,
        callbacks=[
            *callbacks.values(),
            SeedSteps(seed=cfg.seed),
            timer,
            *_own_callbacks(cfg.checkpoint, is_new_run=is_new_run),
        ],
        devices=settings.devices if place.by == "nothing" else place.local_world,
        strategy=_strategy(settings.strategy, place, model, has_average=bool(callbacks.get("ema"))),
        plugins=[AtomicCheckpointIO(), _cluster_environment(place)],
        # the whole run is one epoch, so that a position in it is one number
        max_epochs=1,
        use_distributed_sampler=False,
        check_val_every_n_epoch=None,
        val_check_interval=cfg.val_every_steps * settings.accumulate_grad_batches,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar="progress" in callbacks,
    )
    return trainer, timer


def _own_callbacks(checkpoint: Any, *, is_new_run: bool) -> list[Callback]:
    """What every run has, beside what ``callbacks`` of the configuration adds."""
    return [
        StopOnNonFinite(every_steps=checkpoint.every_steps),
        StepLog(),
        StageReport(),
        Curves(),
        Dashboard(artifacts=checkpoint.artifacts),
        ImageScores(),
        RunReport(),
        RunCheckpoint(every_steps=checkpoint.every_steps, is_new_run=is_new_run),
        GracefulStop(),
    ]


def _check_settings(cfg: Any) -> None:
    """Bounds of what Lightning would take, or refuse in its own words."""
    for key in ("max_steps", "accumulate_grad_batches", "log_every_n_steps", "val_every_steps"):
        place, value = (key, cfg[key]) if key in cfg else (f"trainer.{key}", cfg.trainer[key])
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{place} is {value}, expected a whole number, at least 1")
    trainer = cfg.trainer
    if trainer.strategy not in STRATEGIES:
        raise ValueError(f"trainer.strategy is {trainer.strategy}, expected one of {', '.join(STRATEGIES)}")
    if trainer.precision not in PRECISIONS:
        raise ValueError(f"trainer.precision is {trainer.precision}, expected one of {', '.join(PRECISIONS)}")
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    if trainer.accelerator in ("gpu", "cuda") and not has_gpu:
        raise ValueError(
            f"trainer.accelerator is {trainer.accelerator}, but torch finds no GPU on this machine; set trainer=cpu, "
            "or install the torch that is made for its driver"
        )
    clip = trainer.gradient_clip_val
    if clip is not None and (not isinstance(clip, int | float) or clip <= 0):
        raise ValueError(f"trainer.gradient_clip_val is {clip}, expected a number above 0, or null")


def _cluster_environment(place: Place) -> ClusterEnvironment:
    """How the processes find each other."""
    if place.by == "environment":
        return TorchElasticEnvironment()
    # not auto_requeue, nor Slurm's where it runs one task: Lightning would save and requeue in its own way, in mid-step
    return SLURMEnvironment(auto_requeue=False) if place.by == "srun" else LightningEnvironment()


def _strategy(wanted: str, place: Place, model: RestorationModel, *, has_average: bool) -> Strategy | str:
    """How the processes share a training."""
    if wanted == "ddp" and model.has_idle_parameters:
        raise ValueError(f"trainer.strategy is ddp, but parts of {model.method} rest meanwhile; set ddp_find_unused")
    if wanted == "fsdp" and (has_average or model.has_idle_parameters):
        raise ValueError(
            "trainer.strategy is fsdp, which cuts the weights into pieces; expected callbacks.ema=null and a model "
            "other than translation; set these, or trainer.strategy=auto"
        )
    if place.world == 1:
        return "auto"
    if wanted == "fsdp":
        return FSDPStrategy()
    idle = model.has_idle_parameters or wanted == "ddp_find_unused"
    # buffers are constants here, or the same function of the same weights in every process
    return _DDP(find_unused_parameters=idle, broadcast_buffers=False)


class _DDP(DDPStrategy):
    """Lightning's, without its seeding anew, which would give what is drawn after it other values than alone."""

    def setup_distributed(self) -> None:
        with torch.random.fork_rng(devices=[]):
            super().setup_distributed()


def _precision(wanted: str) -> str:
    if wanted != "auto":
        return str(wanted)
    return "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"


@contextmanager
def finishing(trainer: Trainer) -> Iterator[None]:
    """Begin the loggers' runs, and end them however it ends: at Weights & Biases the next job is another."""
    if trainer.is_global_zero:
        connect(trainer.loggers)
    status = 1
    try:
        yield
        status = 0
    except StopRequested:
        for logger in trainer.loggers:
            mark = getattr(getattr(logger, "experiment", None), "mark_preempting", None)
            if mark is not None:
                mark()  # else the dashboard shows a crash
        raise
    finally:
        for logger in trainer.loggers:
            finish = getattr(getattr(logger, "experiment", None), "finish", None)
            if finish is not None:
                finish(exit_code=status)
