"""``restore check``: looks before a long job leaps. Data, one real piece of every part of the run, and a forecast."""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from restore.config.command import command, conf_dir
from restore.config.errors import UserError
from restore.distributed.environment import Place, check_processes, own_place, wanted_processes
from restore.distributed.signals import BUT_CTRL_C, handled
from restore.io import files
from restore.preflight import clocks
from restore.runs.resume import resume_point

if TYPE_CHECKING:
    from restore.preflight.findings import Finding

log = logging.getLogger(__name__)


def check(cfg: DictConfig) -> None:
    """Look at everything a run needs, print what was found, and fail where the run would."""
    started = clocks.wall(), clocks.alone()
    given = Path(HydraConfig.get().runtime.output_dir)
    with _unwinding(), _removing_if_empty(given), TemporaryDirectory(prefix="restore_check_") as folder:
        findings, facts = _look(cfg, Path(folder), given, started)
    _show(findings)
    if cfg.check.output is not None:
        rows = [finding._asdict() for finding in findings]
        files.write_text(Path(cfg.check.output), json.dumps({"findings": rows, "forecast": facts}, indent=2) + "\n")
    failed = [finding for finding in findings if finding.verdict == "bad"]
    if failed:
        raise UserError("; ".join(f"{each.what}: {each.found}" for each in failed))


@contextmanager
def _removing_if_empty(folder: Path) -> Iterator[None]:
    """Hydra makes a folder; with ``hydra.run.dir``, or in a sweep, it is the run's own, and what it holds stays."""
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _unwinding() -> Iterator[None]:
    """End on a signal as on an error, so that the folder goes; the status is the signal's, 128 + number."""

    def end(number: int, frame: Any) -> NoReturn:
        raise SystemExit(128 + number)

    with handled(end, BUT_CTRL_C):  # Ctrl-C does so by itself
        yield


def _look(
    cfg: DictConfig, folder: Path, given: Path, started: tuple[float, float]
) -> tuple[list["Finding"], dict[str, Any]]:
    from restore.callbacks.dashboards import refuse_unusable
    from restore.config.log_filters import quieten
    from restore.preflight import findings as inspection
    from restore.preflight.dry_run import choose, rehearse
    from restore.preflight.forecast import forecast
    from restore.training.train import model_and_data, prepare

    _check_settings(cfg)
    place, resume = _refuse_as_fit_does(cfg, given)
    quieten()
    prepare(cfg)
    loggers = {key: node for key, node in (cfg.logger or {}).items() if node is not None}
    refuse_unusable(loggers, artifacts=cfg.checkpoint.artifacts)
    _one_process(cfg, place.world, folder)
    model, data = model_and_data(cfg, is_resumed=resume is not None)
    begin = 0 if resume is None else _step_to_go_on_from(cfg, folder, model, resume, _folder_of_run(cfg, given))
    reading = clocks.wall(), clocks.alone()
    opened = inspection.read(data, cfg.check.files)
    read = clocks.wall(), clocks.alone()
    share = opened.total / opened.opened
    before, before_alone = (
        begun - start + (end - begun) * share for start, begun, end in zip(started, reading, read, strict=True)
    )
    before_busy = time.process_time()
    findings = inspection.data(data, opened, known_counts=cfg.check.known_counts)
    lengths, every = model.stage_lengths(cfg.trainer.max_steps), (cfg.val_every_steps, cfg.checkpoint.every_steps)
    times = choose(data, opened.tests)
    measured = rehearse(cfg, folder, model, data)
    settings = {
        "begin": begin,
        "val_every": every[0],
        "save_every": every[1],
        "accumulate": cfg.trainer.accumulate_grad_batches,
        "period": model.period,
        "times": times,
        "samples": data.batch_size,
        "workers": getattr(data, "num_workers", 0),
        "processes": place.world,
    }
    ahead = forecast(measured.wall, lengths, before=before, **settings)
    alone = forecast(measured.alone, lengths, before=before_alone, **settings)
    busy = forecast(measured.processor, lengths, before=before_busy, **settings)
    uncached = inspection.uncached_bytes(data, opened)
    findings += inspection.trial(model, data, measured, folder / "checkpoints" / "last.ckpt")
    findings += inspection.outlook(
        ahead, measured, alone, lengths, uncached, begin=begin, processes=place.world, here=place.local_world
    )
    return findings, inspection.facts(
        ahead, alone, busy, measured, inspection.memory_needed(measured, uncached, place.local_world)
    )


def _check_settings(cfg: DictConfig) -> None:
    if cfg.check.steps < 1 or (cfg.check.files is not None and cfg.check.files < 2):
        raise UserError(
            f"check.steps is {cfg.check.steps} and check.files is {cfg.check.files}, expected at least 1 step, and at "
            "least 2 files or null for all"
        )
    if cfg.check.output is not None:
        files.refuse_unwritable(Path(cfg.check.output).resolve().parent)


def _step_to_go_on_from(cfg: DictConfig, folder: Path, model: Any, resume: Path, of_run: Path) -> int:
    """The step a resumed run begins at, or what ``fit`` says of the checkpoint."""
    from restore.training.train import begin_at
    from restore.training.trainer import make_trainer

    is_new_run = resume.parent != of_run / "checkpoints"
    trainer, timer = make_trainer(cfg, folder, model, is_new_run=is_new_run)
    return begin_at(model, trainer, timer, resume)


def _refuse_as_fit_does(cfg: DictConfig, given: Path) -> tuple[Place, Path | None]:
    """What ``fit`` looks at before it starts anything; gives where its processes stand, and its checkpoint."""
    here = own_place()
    if here.world > 1:
        raise ValueError(
            f"check tries one process of a run, but {here.world} were started; start it without torchrun, and in a "
            "Slurm job with srun --ntasks=1"
        )
    place = _place_of_job(here)
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    del config["check"]
    checkpoint = resume_point(_folder_of_run(cfg, given), config, cfg.resume)
    count = wanted_processes(config["trainer"])
    check_processes(config, place, count)
    if cfg.seed < 0:
        raise ValueError(f"seed is {cfg.seed}, expected a whole number, at least 0")
    return place if place.world > 1 else Place(0, count, count, "nothing"), checkpoint


def _place_of_job(here: Place) -> Place:
    """Where a Slurm job's tasks will stand, of which ``srun --ntasks=1`` has started this one on purpose."""
    own = os.environ
    if "SLURM_STEP_ID" not in own or "SLURM_NTASKS_PER_NODE" not in own:
        return here
    nodes = own.get("SLURM_JOB_NUM_NODES", own.get("SLURM_NNODES", "1"))
    own["SLURM_NNODES"] = nodes  # which trainer=slurm reads; srun told its one task of one node
    tasks = int(own["SLURM_NTASKS_PER_NODE"])
    return Place(0, tasks * int(nodes), tasks, "srun") if tasks * int(nodes) > 1 else here


def _folder_of_run(cfg: DictConfig, given: Path) -> Path:
    """Where ``fit`` would work: in what Hydra was given, else in its default, not in that of conf/check.yaml."""
    if not given.name.startswith("restore_check_"):
        return given
    pattern = files.read_mapping(Path(conf_dir()) / "fit.yaml")["hydra"]["run"]["dir"]
    return Path(OmegaConf.create({"name": cfg.name, "run_id": cfg.run_id, "dir": pattern}).dir).absolute()


def _one_process(cfg: DictConfig, count: int, folder: Path) -> None:
    """Turn a run of several processes into what each of them does, and keep it in the trial's folder."""
    if count > 1:
        cfg.data.batch_size //= count
    # not the strategy: it is looked at as fit does, and one process has none
    OmegaConf.update(cfg, "trainer.devices", 1)
    OmegaConf.update(cfg, "trainer.num_nodes", 1)
    # dashboards are not told of a trial; whether they could be of the run has been asked before
    cfg.checkpoint.artifacts = False
    cfg.logger = {key: node for key, node in (cfg.logger or {}).items() if key == "csv"}
    if cfg.logger.get("csv") is not None:
        cfg.logger.csv.folder = str(folder)
    if cfg.callbacks is not None and "progress" in cfg.callbacks:
        cfg.callbacks.progress = None


def _show(findings: list["Finding"]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "look at", "found", box=None)
    signs = {"good": "[green]ok[/]", "warning": "[yellow]note[/]", "bad": "[red]BAD[/]"}
    for finding in findings:
        table.add_row(signs[finding.verdict], escape(finding.what), escape(finding.found))
    Console().print(table)


main = command(check, "check")

if __name__ == "__main__":
    main()
