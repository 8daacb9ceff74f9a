"""Rejects settings, files and packages that cannot work, before the slow import of torch.

Only checks that need no torch; the constructors check everything else, and these settings again.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from restore.callbacks.logger_requirements import refuse_not_installed
from restore.checkpoints.locate import locate, refuse_missing
from restore.config.errors import refuse_unset
from restore.config.inference import MOST_THREADS
from restore.config.signatures import annotations_in_source, check_values
from restore.data import setting_bounds
from restore.distributed.environment import ProcessInfo, check_processes, processes_to_start
from restore.io.errors import SettingError
from restore.models import optimization
from restore.models.translation.stages import make_stages
from restore.training import max_time

if TYPE_CHECKING:
    from restore.config.schemas import FitConfig

PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed", "16-mixed")
STRATEGIES = ("auto", "ddp", "ddp_find_unused", "fsdp")


def refuse(
    cfg: "FitConfig", config: dict[str, Any], process: ProcessInfo, overrides: Sequence[str], *, is_resumed: bool
) -> int:
    """Refuse settings that cannot be trained.

    Args:
        cfg: the root of ``restore fit``. config: the same, resolved, as plain containers.
        process: this process, or the first process of the job. overrides: words of the command line.
        is_resumed: the weights come from a checkpoint, so ``init_from`` is ignored.

    Returns:
        Number of processes that a job on one machine will have.

    Raises:
        SettingError: a setting has the wrong type or is out of bounds; a folder or package is missing.
        FileNotFoundError: ``init_from`` does not name a file.
    """
    count = processes_to_start(config["trainer"])
    check_processes(config, process, count)
    refuse_unset(cfg)
    _refuse_types(config)
    _refuse_seed_and_threads(cfg.seed, cfg.threads)
    _refuse_trainer_settings(cfg.trainer, cfg.val_every_steps)
    max_time.refuse_both(cfg.trainer.max_time, overrides)
    _refuse_model_bounds(config["model"])
    _refuse_empty_stages(config)
    data = config["data"]
    named = ("batch_size", "val_limit", "num_workers", "cache_gb")
    setting_bounds.check_bounds(**{key: data[key] for key in named if key in data})
    setting_bounds.refuse_missing_paths(data)
    refuse_not_installed({key: node for key, node in (config["logger"] or {}).items() if node is not None})
    if config["init_from"] is not None and not is_resumed:
        refuse_missing(locate(config["init_from"]), "init_from")
    return count


def _refuse_types(config: dict[str, Any]) -> None:
    """Compare plain values with the annotations of the constructors, read from their source."""
    for path, node in _parts(config):
        values = {key: value for key, value in node.items() if not _holds_targets(value)}
        check_values(annotations_in_source(str(node["_target_"])), values, path)


def _parts(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Dotted name and settings of each part to build."""
    found = {"model": config["model"], "data": config["data"]}
    found |= {f"callbacks.{key}": node for key, node in (config["callbacks"] or {}).items()}
    return ((path, node) for path, node in found.items() if isinstance(node, dict) and "_target_" in node)


def _holds_targets(value: Any) -> bool:
    """Whether the value contains a ``_target_``."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, dict) and "_target_" in value) or any(_holds_targets(each) for each in inner)


def _refuse_model_bounds(model: dict[str, Any]) -> None:
    """Check the bounds of settings that have the same meaning in every method."""
    if "lr" in model and "betas" in model:
        optimization.check_adam(**{key: model[key] for key in ("lr", "betas", "weight_decay") if key in model})
    if "warmup_steps" in model:
        optimization.check_steps("warmup_steps", model["warmup_steps"], least=0)


def _refuse_empty_stages(config: dict[str, Any]) -> None:
    """Check the stages of a training from coarse to fine, and that each has a step."""
    model, trainer = config["model"], config["trainer"]
    if {"stages", "levels"} <= model.keys():
        max_steps = trainer["max_steps"] if trainer["max_time"] is None else None  # max_time chooses the steps later
        make_stages(model["stages"], levels=model["levels"], max_steps=max_steps)


def _refuse_seed_and_threads(seed: int, threads: int | None) -> None:
    if seed < 0:
        raise SettingError("seed", seed, "a whole number, at least 0")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise SettingError("threads", threads, f"at least 1 and at most {MOST_THREADS}, or null for PyTorch's default")


def _refuse_trainer_settings(trainer: Any, val_every_steps: int) -> None:
    """Check bounds that Lightning does not check, or refuses without naming the setting."""
    for key, value in {
        "trainer.max_steps": trainer.max_steps,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "trainer.log_every_n_steps": trainer.log_every_n_steps,
        "val_every_steps": val_every_steps,
    }.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SettingError(key, value, "a whole number, at least 1")
    for key, value, known in (
        ("trainer.strategy", trainer.strategy, STRATEGIES),
        ("trainer.precision", trainer.precision, PRECISIONS),
    ):
        if value not in known:
            raise SettingError(key, value, f"one of {', '.join(known)}")
    clip = trainer.gradient_clip_val
    if clip is not None and not (isinstance(clip, int | float) and 0 < clip < float("inf")):
        raise SettingError("trainer.gradient_clip_val", clip, "a number above 0, or null")
