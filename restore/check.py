"""``restore check``: tries each part of a run in advance: data, one short training, memory, disk and time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from restore.config.command import command
from restore.config.errors import UserError
from restore.distributed.environment import ProcessInfo, planned_slurm_tasks, process_info
from restore.distributed.signals import ASKING, StopRequested, handled, interrupt
from restore.io import files
from restore.io.errors import SettingError
from restore.io.temporaries import temporary_folder
from restore.runs.resume import resume_point
from restore.training import preconditions

if TYPE_CHECKING:
    from restore.config.schemas import CheckSettings, FitConfig


def check(cfg: DictConfig) -> None:
    """Check everything that a run needs, print the findings, and fail if the run would fail."""
    _check_settings(cfg.check)
    run = cast("FitConfig", cfg)
    run_folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        with (
            handled(interrupt, ASKING),  # a signal raises an exception, so that temporary files are removed
            _removed_if_empty(run_folder),
            temporary_folder("restore_check_") as folder,
        ):
            process, resume = _refuse_as_fit_does(run, run_folder)
            from restore.preflight.findings import Findings  # imports rich, which a refusal need not wait for

            findings = Findings()
            with findings.doing("start", "loading PyTorch and Lightning"):
                from restore.preflight.run_checks import examine

            forecast = examine(run, cfg.check, process, resume, run_folder, folder, findings)
    except StopRequested as stop:
        raise SystemExit(128 + stop.number) from None
    if cfg.check.output is not None:
        files.write_json(Path(cfg.check.output), {"findings": findings, "forecast": forecast}, indent=2)
    failed = [f"{finding['what']}: {finding['found']}" for finding in findings if finding["verdict"] == "bad"]
    if failed:
        raise UserError("; ".join(failed))


def _check_settings(settings: "CheckSettings") -> None:
    if settings.steps < 1:
        raise SettingError("check.steps", settings.steps, "at least 1")
    if settings.files is not None and settings.files < 2:
        raise SettingError("check.files", settings.files, "at least 2, or null for all")
    if settings.output is not None:
        output = Path(settings.output).resolve()
        files.refuse_unwritable(output.parent, [output.name], setting="check.output")


@contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove the run folder made by Hydra, and its parents, as far as they are empty."""
    try:
        yield
    finally:
        with suppress(OSError):
            os.removedirs(os.path.relpath(folder))  # relative, so that the working folder is kept


def _refuse_as_fit_does(cfg: "FitConfig", run_folder: Path) -> tuple[ProcessInfo, Path | None]:
    """Make the checks of ``fit`` before it starts processes; return the first process, and the checkpoint to resume."""
    started = process_info().world_size
    if started > 1:
        raise ValueError(
            f"check tries one process of a run, but {started} were started; start it without torchrun, and in a Slurm "
            "job with srun --ntasks=1"
        )
    planned = planned_slurm_tasks()  # sets variables that the configuration may read when it is resolved
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    del config["check"]
    checkpoint = resume_point(run_folder, config, cfg.resume)
    overrides = HydraConfig.get().overrides.task
    count = preconditions.refuse(cfg, config, planned, overrides, is_resumed=checkpoint is not None)
    return planned if planned.world_size > 1 else ProcessInfo(0, count, count, "none"), checkpoint


main = command(check, "check")

if __name__ == "__main__":
    main()
