"""Builds the Trainer of a run: the whole run is one epoch, which can be interrupted and resumed at any step."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, Strategy

from restore.callbacks.baseline_scores import BaselineScores
from restore.callbacks.curves import Curves
from restore.callbacks.dashboards import Dashboard, connect
from restore.callbacks.graceful_stop import GracefulStop
from restore.callbacks.image_scores import ImageScores
from restore.callbacks.logger_requirements import refuse_unusable
from restore.callbacks.non_finite import StopOnNonFinite
from restore.callbacks.run_checkpoint import RunCheckpoint
from restore.callbacks.run_report import RunReport
from restore.callbacks.run_timer import RunTimer
from restore.callbacks.seed_steps import SeedSteps
from restore.callbacks.stage_report import StageReport
from restore.callbacks.step_log import StepLog
from restore.checkpoints.atomic_io import AtomicCheckpointIO
from restore.config.build import build
from restore.distributed.environment import ProcessInfo, process_info
from restore.distributed.signals import StopRequested
from restore.io.errors import SettingError
from restore.models.base import Keep, RestorationModel
from restore.ops.cpu_precision import WORTH, bf16_speedup, slowdown_warning

if TYPE_CHECKING:
    from restore.config.schemas import FitConfig

log = logging.getLogger(__name__)


def make_trainer(
    cfg: "FitConfig",
    folder: Path,
    model: RestorationModel,
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger] | None = None,
    resumed_precision: str | None = None,
    **changes: Any,
) -> Trainer:
    """Build the Trainer of a run.

    Args:
        cfg: the root of ``restore fit``.
        folder: the run folder.
        model: the model to train.
        callbacks: appended to those of the configuration, see :func:`run_callbacks`.
        loggers: replace those of the configuration.
        resumed_precision: precision of the run's earlier starts, which ``auto`` keeps on any processor; empty where it
            was not recorded, None for a new run.
        changes: arguments of the Trainer to replace.

    Raises:
        ValueError: a setting is out of bounds or does not suit the model.
    """
    check_settings(cfg)
    settings, process = cfg.trainer, process_info()
    wanted = _wanted(cfg.callbacks)
    if not sys.stdout.isatty():  # lines in the log show the progress instead
        wanted.pop("progress", None)
    configured = {key: build(node, f"callbacks.{key}") for key, node in wanted.items()}
    for callback in configured.values():
        if hasattr(callback, "check"):  # our callbacks that require a certain network
            callback.check(model)
    if loggers is None:
        loggers = [build(node, f"logger.{key}") for key, node in _wanted(cfg.logger).items()]
    arguments = {
        "precision": _precision(settings, process, resumed_precision),
        "default_root_dir": str(folder),
        "logger": list(loggers),
        "callbacks": [*configured.values(), *callbacks],
        "devices": settings.devices if process.launcher == "none" else process.local_world_size,
        "strategy": _strategy(settings.strategy, process, model, has_average="ema" in configured),
        "plugins": [AtomicCheckpointIO(), _cluster_environment(process)],
        "max_time": None,  # already turned into max_steps, see restore.training.step_budget
        # one epoch for the whole run, so that a position in it is one number
        "max_epochs": 1,
        "use_distributed_sampler": False,
        "check_val_every_n_epoch": None,
        "val_check_interval": cfg.val_every_steps * settings.accumulate_grad_batches,
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
        "enable_progress_bar": "progress" in configured,
    }
    trainer: Trainer = build(settings, "trainer", **arguments | changes)
    return trainer


def run_callbacks(cfg: "FitConfig", timer: RunTimer, *, is_new_run: bool) -> list[Callback]:
    """The callbacks of every run, which follow those of the configuration.

    Args:
        cfg: the root of ``restore fit``.
        timer: of this start.
        is_new_run: false when the run resumes from its own checkpoint.
    """
    every_steps = cfg.checkpoint.every_steps
    return [
        SeedSteps(seed=cfg.seed),
        timer,
        StopOnNonFinite(every_steps=every_steps),
        StepLog(is_new_run=is_new_run),
        StageReport(),
        BaselineScores(),  # before the callbacks that display the scores
        Curves(),
        Dashboard(artifacts=cfg.checkpoint.artifacts),
        ImageScores(),
        RunReport(),
        RunCheckpoint(every_steps=every_steps, is_new_run=is_new_run),
        GracefulStop(),
    ]


def _wanted(nodes: Any) -> dict[str, Any]:
    """The entries of a group that are not switched off."""
    return {key: node for key, node in (nodes or {}).items() if node is not None}


def check_settings(cfg: "FitConfig") -> None:
    """Check settings that need torch or the libraries of the loggers; other settings are checked before their import.

    Args:
        cfg: the root of ``restore fit``.

    Raises:
        SettingError: a setting is out of bounds, or a logger cannot be used here.
    """
    refuse_unusable(_wanted(cfg.logger), artifacts=cfg.checkpoint.artifacts)
    trainer = cfg.trainer
    if cfg.checkpoint.keep is not None and cfg.checkpoint.keep not in get_args(Keep):
        raise SettingError("checkpoint.keep", cfg.checkpoint.keep, f"one of {', '.join(get_args(Keep))}")
    if trainer.accelerator in ("gpu", "cuda") and not _has_gpu():
        raise SettingError(
            "trainer.accelerator",
            trainer.accelerator,
            "cpu, because torch finds no GPU on this machine",
            "set trainer=cpu, or install a torch that supports its driver",
        )


def _cluster_environment(process: ProcessInfo) -> ClusterEnvironment:
    """How the processes find each other."""
    if process.launcher == "torchrun":
        return TorchElasticEnvironment()
    # auto_requeue=False: Lightning would save and requeue by itself, in the middle of a step; LightningEnvironment is
    # given explicitly, because Lightning would otherwise detect a Slurm job even for a single process
    return SLURMEnvironment(auto_requeue=False) if process.launcher == "srun" else LightningEnvironment()


def _strategy(wanted: str, process: ProcessInfo, model: RestorationModel, *, has_average: bool) -> Strategy | str:
    """How the processes share the work of a training step."""
    if wanted == "ddp" and model.has_idle_parameters:
        raise SettingError(
            "trainer.strategy",
            wanted,
            f"ddp_find_unused, because some parameters of {model.method} get no gradient in some steps",
            "set trainer.strategy=ddp_find_unused",
        )
    if wanted == "fsdp" and (has_average or model.has_idle_parameters):
        raise SettingError(
            "trainer.strategy",
            wanted,
            "another one: fsdp shards the weights, and supports neither a moving average nor parameters without a "
            "gradient",
            "set trainer.strategy=auto" + ("" if model.has_idle_parameters else ", or callbacks.ema=null"),
        )
    if process.world_size == 1:
        return "auto"
    if wanted == "fsdp":
        return FSDPStrategy()
    find_unused = model.has_idle_parameters or wanted == "ddp_find_unused"
    # buffers are constants here, or the same function of the same weights in every process
    return _DDP(find_unused_parameters=find_unused, broadcast_buffers=False)


class _DDP(DDPStrategy):
    """Lightning's strategy without its reseeding, which would make random draws differ from those of one process."""

    def setup_distributed(self) -> None:
        with torch.random.fork_rng(devices=[]):
            super().setup_distributed()


def _precision(settings: Any, process: ProcessInfo, resumed: str | None) -> str:
    """Lightning's name of the precision; ``auto``: bfloat16 on a GPU that has it, or on a CPU where it measures faster.

    Several processes on CPUs compute in float32, because their measurements could differ.
    """
    wanted, on_cpu = str(settings.precision), settings.accelerator == "cpu" or not _has_gpu()
    if wanted == "bf16-mixed" and on_cpu:
        warning = slowdown_warning("trainer.precision", wanted, "auto")
        if warning is not None and process.rank == 0:
            log.warning(warning)
    if wanted != "auto":
        return wanted
    if resumed in ("32-true", "bf16-mixed"):
        return str(resumed)
    if on_cpu:
        measures = resumed is None and settings.devices == 1 and process.world_size == 1
        return "bf16-mixed" if measures and bf16_speedup() >= WORTH else "32-true"
    return "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"


def _has_gpu() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()


@contextmanager
def logging_runs(trainer: Trainer) -> Iterator[None]:
    """Start the loggers' runs, and finish them however the block ends, so that the next run gets its own.

    A run that was asked to stop is marked as preempted.
    """
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
                mark()  # otherwise the dashboard shows a crash
        raise
    finally:
        for logger in trainer.loggers:
            finish = getattr(getattr(logger, "experiment", None), "finish", None)
            if finish is not None:
                finish(exit_code=status)
