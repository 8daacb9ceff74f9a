"""``restore check``: tries each part of a run before it starts: data, one short training, memory, disk and time."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from restore.config.command import command, conf_dir
from restore.config.errors import UserError
from restore.distributed.environment import (
    ProcessInfo,
    check_processes,
    planned_slurm_tasks,
    process_info,
    processes_to_start,
)
from restore.distributed.signals import BUT_CTRL_C, StopRequested, handled, interrupt
from restore.io import files
from restore.io.errors import SettingError
from restore.io.progress import doing
from restore.runs.resume import resume_point
from restore.training import preconditions


def check(cfg: DictConfig) -> None:
    """Look at everything a run needs, print what was found, and fail where the run would."""
    from restore.preflight.report import Report

    _check_settings(cfg)
    given, report = Path(HydraConfig.get().runtime.output_dir), Report()
    try:
        with (
            handled(interrupt, BUT_CTRL_C),  # a signal unwinds as an error does, so that temporary files are removed
            _removed_if_empty(given),
            TemporaryDirectory(prefix="restore_check_") as folder,
        ):
            run_folder = _run_folder(cfg, given)
            process, resume = _refuse_as_fit_does(cfg, run_folder)

            with doing("loading PyTorch and Lightning"):
                from restore.preflight.examine import examine

            with doing(lambda: "still at what the last line says"):
                forecast = examine(cfg, process, resume, run_folder, Path(folder), report)
    except StopRequested as stop:
        raise SystemExit(128 + stop.number) from None
    if cfg.check.output is not None:
        found = {"findings": [finding._asdict() for finding in report], "forecast": forecast}
        files.write_json(Path(cfg.check.output), found, indent=2)
    failed = [f"{finding.what}: {finding.found}" for finding in report if finding.verdict == "bad"]
    if failed:
        raise UserError("; ".join(failed))


def _check_settings(cfg: DictConfig) -> None:
    if cfg.check.steps < 1:
        raise SettingError("check.steps", cfg.check.steps, "at least 1")
    if cfg.check.files is not None and cfg.check.files < 2:
        raise SettingError("check.files", cfg.check.files, "at least 2, or null for all")
    if cfg.check.output is not None:
        output = Path(cfg.check.output).resolve()
        files.refuse_unwritable(output.parent, [output.name], setting="check.output")


@contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove the folder that Hydra has made; a run folder, by ``hydra.run.dir`` or in a sweep, keeps its files."""
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()


def _run_folder(cfg: DictConfig, given: Path) -> Path:
    """The run folder of ``fit``: what Hydra was given, or the default of conf/fit.yaml, not that of conf/check.yaml."""
    if not given.name.startswith("restore_check_"):
        return given
    pattern = files.read_mapping(Path(conf_dir()) / "fit.yaml")["hydra"]["run"]["dir"]
    return Path(OmegaConf.create({"name": cfg.name, "run_id": cfg.run_id, "dir": pattern}).dir).absolute()


def _refuse_as_fit_does(cfg: DictConfig, run_folder: Path) -> tuple[ProcessInfo, Path | None]:
    """What ``fit`` checks before it starts processes; gives the first of these, and the checkpoint to resume from."""
    started = process_info().world_size
    if started > 1:
        raise ValueError(
            f"check tries one process of a run, but {started} were started; start it without torchrun, and in a Slurm "
            "job with srun --ntasks=1"
        )
    planned = planned_slurm_tasks()  # before the configuration is resolved, which may read variables that it sets
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    del config["check"]
    checkpoint = resume_point(run_folder, config, cfg.resume)
    count = processes_to_start(config["trainer"])
    check_processes(config, planned, count)
    preconditions.refuse(cfg, config, is_resumed=checkpoint is not None)
    return planned if planned.world_size > 1 else ProcessInfo(0, count, count, "none"), checkpoint


main = command(check, "check")

if __name__ == "__main__":
    main()
