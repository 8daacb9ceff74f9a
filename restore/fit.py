"""``restore fit``: trains, validates, tests, and leaves a run folder that describes itself."""

import json
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from restore import launch, run_folder, sweep
from restore.config.build import build
from restore.config.command import command
from restore.place import Place, own_place, refuse_missing_srun, wanted_processes
from restore.signals import BUT_CTRL_C, Interrupted, handled, interrupt, requeue

log = logging.getLogger(__name__)


def fit(cfg: DictConfig) -> float:
    """Run one training job and return the monitored value."""
    folder, place = Path(HydraConfig.get().runtime.output_dir), own_place()
    if place.rank:
        logging.getLogger().setLevel(logging.ERROR)  # the first process speaks for all
    elif place.by == "environment":
        _refuse_own_folders(cfg)
    try:
        # until the training handles signals itself
        with handled(interrupt, BUT_CTRL_C), _owning(cfg, folder) if not place.rank else nullcontext():
            result = _resume_or_train(cfg, folder, place)
    except Interrupted as interrupted:
        _end(interrupted, folder, place)
    where = os.path.relpath(folder)
    log.info("%s = %.4f after %d steps; all of it: %s", result["monitor"], result["value"], result["steps"], where)
    return float(result["value"])


@contextmanager
def _owning(cfg: DictConfig, folder: Path) -> Iterator[None]:
    """Keep other jobs out of the folder, and leave nothing of one that ended before it was described."""
    with run_folder.locked(folder):
        try:
            cfg.run_token = run_folder.run_token(folder)
            yield
        finally:
            run_folder.discard_unused(folder)


def _resume_or_train(cfg: DictConfig, folder: Path, place: Place) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    checkpoint = run_folder.resume_point(folder, config, cfg.resume)
    result = run_folder.result(folder)
    if result is not None:
        log.info("this run is already finished")
        return result
    count = wanted_processes(config["trainer"])
    check_processes(config, place, count)
    overrides = list(HydraConfig.get().overrides.task)
    # a point of a sweep trains in a process of its own, so that the sweep outlives it
    if place.world == 1 and (count > 1 or _is_point()):
        _on_processes(config, overrides, folder, checkpoint, count)
        return run_folder.finished(folder)

    from restore.callbacks import interruption

    try:
        return train(cfg, config, overrides, folder, checkpoint)
    except interruption.Interrupted as interrupted:
        raise Interrupted(interrupted.number, is_common=True) from None
    except SystemExit:  # what Lightning makes of a second Ctrl-C
        raise Interrupted(signal.SIGINT) from None


def _refuse_own_folders(cfg: DictConfig) -> None:
    """Each of several processes composes its configuration by itself, so the time is no name they share."""
    if _is_point() and "SUBMITIT_LOCAL_NTASKS" not in os.environ:
        raise ValueError(
            "several processes were started, and each would go through the sweep by itself; start one, without "
            "torchrun, and set trainer.devices to the number of processes of a point"
        )
    if not _is_point() and cfg.run_id is None and "SLURM_JOB_ID" not in os.environ:
        raise ValueError("run_id is not set, but several processes were started and must find one folder; set run_id")


def check_processes(config: dict[str, Any], place: Place, count: int) -> None:
    """What can be said of the number of processes before anything is started."""
    trainer, here = config["trainer"], place.local_world
    if place.world > 1 and trainer["devices"] not in (here, "auto"):
        raise ValueError(
            f"trainer.devices is {trainer['devices']}, but {here} processes were started on this machine; "
            f"set trainer.devices={here}"
        )
    nodes = place.world // here
    if trainer["num_nodes"] != nodes:
        raise ValueError(
            f"trainer.num_nodes is {trainer['num_nodes']}, but the processes that were started are on {nodes}; start "
            "the command with torchrun on every machine, or with srun, or set the same number"
        )
    refuse_missing_srun(count)
    world = count if place.world == 1 else place.world
    if world > 1 and config["model"]["_target_"].startswith("restore.models.zero_shot."):
        raise ValueError(
            f"trainer.devices is {trainer['devices']}, but model=zero_shot trains on one picture, which one process "
            "does; set trainer.devices=1, or restore a folder with `restore predict devices=...`, one picture each"
        )
    size = config["data"].get("batch_size")
    if world > 1 and size is not None and (not isinstance(size, int) or size % world):
        raise ValueError(
            f"data.batch_size is {size}, expected a multiple of the {world} processes; it counts the samples of all "
            "processes together"
        )


def _on_processes(
    config: dict[str, Any], overrides: list[str], folder: Path, checkpoint: Path | None, count: int
) -> None:
    """Train in fresh processes; this one only watches them."""
    job = {
        "config": config,
        "overrides": overrides,
        "folder": str(folder),
        "resume": None if checkpoint is None else str(checkpoint),
        "logging": OmegaConf.to_container(HydraConfig.get().job_logging, resolve=True),
    }
    if count > 1:
        log.info("training on %d processes", count)
    launch.run(job, folder, count, sweep.told_to_end if _is_point() else lambda: 0)


def _is_point() -> bool:
    """Whether this is a point of a sweep."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def _end(interrupted: Interrupted, folder: Path, place: Place) -> NoReturn:
    """Give a run that was asked to end the status of its signal, 128 + number, and a word.

    Raises:
        BrokenOff: it is a point of a sweep, and the sweep goes on.
    """
    number, remedy = interrupted.number, run_folder.remedy(folder)
    said = f"ended by {signal.Signals(number).name}. {remedy}"
    log.warning(said)
    is_one_of_many = _is_point() and (sweep.is_elsewhere() or not interrupted.is_own)
    # of several points in one job it is their sweep that asks
    asks = not place.rank and (sweep.is_own_job() or not is_one_of_many)
    will_start_again = asks and requeue(number)
    if place.world > 1:
        from restore import collectives

        # srun and torchrun end the others as soon as one is gone, and the first may still be sending its last words
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if interrupted.is_common:
            will_start_again = collectives.from_process(will_start_again, 0)
            collectives.meet()
    if is_one_of_many and not will_start_again:
        raise sweep.BrokenOff(said) from None
    if number == signal.SIGINT:
        raise KeyboardInterrupt(remedy) from None
    raise SystemExit(128 + number) from None


def train(
    cfg: DictConfig, config: dict[str, Any], overrides: list[str], folder: Path, resume: Path | None
) -> dict[str, Any]:
    """Train in this process, alone or as one of several.

    Args:
        cfg: the root of ``restore fit``. config: the same, resolved and plain.
        overrides: of the command line. folder: of the run. resume: the checkpoint to go on from.

    Returns:
        The result, which the first process has written.
    """
    if cfg.seed < 0:
        raise ValueError(f"seed is {cfg.seed}, expected a whole number, at least 0")

    from restore import checkpoint, collectives, training
    from restore.callbacks.metrics_csv import MetricsCSV
    from restore.quieten import quieten
    from restore.report import write_report

    quieten()
    prepare(cfg)
    is_new_run = resume is None or resume.parent != folder / "checkpoints"
    model, data = model_and_data(cfg, is_resumed=resume is not None)
    trainer, tally = training.make_trainer(cfg, folder, model, is_new_run=is_new_run)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if hasattr(callback, "check"):  # ours that need a certain network, asked before the folder is described
            callback.check(model)
    begin = 0 if resume is None else begin_at(model, trainer, tally, resume)
    damaged = {} if resume is None or is_new_run else run_folder.damage(folder, resume)
    _describe(config, overrides, folder, model, trainer, data, warnings=list(damaged.values()))
    run_folder.set_aside(damaged)
    if is_new_run and trainer.is_global_zero:  # only now that settings and data were found sound
        run_folder.clear(folder)
    for logger in trainer.loggers:
        if isinstance(logger, MetricsCSV):
            logger.begin_at(begin)
    if resume is not None:
        log.info("resumed at step %d", begin)
    with training.finishing(trainer):
        if begin < trainer.max_steps:  # else the run was killed between its last step and its result
            trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True)
        done = max(begin, trainer.global_step)  # fewer than max_steps where a method stops by itself
        best = folder / "checkpoints" / "best.ckpt"
        if not collectives.from_process(best.exists(), 0):
            raise FileNotFoundError(f"run_id: {best} is gone; remove the run folder, or use another run_id")
        scores = trainer.test(checkpoint.load_model(best), datamodule=data, verbose=False)
    result = {
        "monitor": f"best/{model.monitor}",
        "value": model.best,
        "protocol": model.protocol,
        "metrics": {key: float(value) for score in scores for key, value in score.items() if key != "step"},
        "steps": done,
        "seconds": round(tally.seconds_before + tally.seconds, 1),
        "steps_run": tally.batches // trainer.accumulate_grad_batches,
        "seconds_run": round(tally.seconds, 1),
        "samples_per_s": round(tally.batches * data.batch_size / tally.seconds, 2) if tally.batches else None,
        "processes": trainer.world_size,
        "warnings": run_folder.warnings(folder),
    } | ({"training": model.record} if model.record else {})
    if trainer.is_global_zero:
        run_folder.write_text(folder / "result.json", json.dumps(result, indent=2) + "\n")
        write_report(folder, f"finished after {done} steps")
    return result


def begin_at(model: Any, trainer: Any, tally: Any, resume: Path) -> int:
    """The step a resumed run begins at; its score and its seconds so far go on."""
    from restore import checkpoint

    stored = checkpoint.resumable(resume, model, trainer.accumulate_grad_batches)
    begin, last = int(stored["global_step"]), trainer.max_steps
    if begin >= last and tally.is_new_run:
        raise ValueError(f"resume: {resume} is at step {begin}, trainer.max_steps is {last}; set it higher")
    if not tally.is_new_run:
        tally.load_state_dict(stored["callbacks"][tally.state_key])
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
    import torch

    for warning in warnings:
        log.warning(warning)
    device = str(trainer.strategy.root_device)
    fingerprints = data.check()  # finds the warnings on the way, and keeps the pictures: every process needs them
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


def prepare(cfg: DictConfig) -> None:
    """Set the process's threads and the seed of everything that draws."""
    import torch
    from lightning.pytorch import seed_everything

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


main = command(fit, "fit", around=sweep.summed_up)

if __name__ == "__main__":
    main()
