"""``restore check``: looks before a long job leaps. Data, one real piece of every part of the run, and a forecast."""

import json
import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from restore.config import UserError, command
from restore.run_folder import refuse_unwritable, write_text

if TYPE_CHECKING:
    from restore.inspection import Finding

log = logging.getLogger(__name__)


def check(cfg: DictConfig) -> None:
    """Look at everything a run needs, print what was found, and fail where the run would."""
    started = time.perf_counter()
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        findings, facts = _look(cfg, folder, started)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _show(findings)
    if cfg.check.output is not None:
        rows = [finding._asdict() for finding in findings]
        write_text(Path(cfg.check.output), json.dumps({"findings": rows, "forecast": facts}, indent=2) + "\n")
    failed = [finding for finding in findings if finding.verdict == "bad"]
    if failed:
        raise UserError("; ".join(f"{each.what}: {each.found}" for each in failed))


def _look(cfg: DictConfig, folder: Path, started: float) -> tuple[list["Finding"], dict[str, Any]]:
    from restore import inspection
    from restore.fit import model_and_data, prepare
    from restore.forecast import forecast
    from restore.quieten import quieten
    from restore.rehearsal import choose, rehearse

    _check_settings(cfg)
    quieten()
    prepare(cfg)
    processes = _one_process(cfg)
    model, data = model_and_data(cfg, is_resumed=False)
    reading = time.perf_counter()
    opened = inspection.read(data, cfg.check.files)
    before = reading - started + (time.perf_counter() - reading) * opened.total / opened.opened
    before_busy = time.process_time()
    findings = inspection.data(data, opened, known_counts=cfg.check.known_counts)
    lengths, every = model.stage_lengths(cfg.trainer.max_steps), (cfg.val_every_steps, cfg.checkpoint.every_steps)
    times = choose(data, opened.tests)
    measured = rehearse(cfg, folder, model, data)
    settings = {
        "val_every": every[0],
        "save_every": every[1],
        "accumulate": cfg.trainer.accumulate_grad_batches,
        "period": model.period,
        "times": times,
        "samples": data.batch_size,
        "workers": getattr(data, "num_workers", 0),
    }
    ahead = forecast(measured.wall, lengths, before=before, **settings)
    busy = forecast(measured.processor, lengths, before=before_busy, **settings)
    uncached = inspection.uncached_bytes(data, opened)
    findings += inspection.trial(model, data, measured, folder / "checkpoints" / "last.ckpt")
    findings += inspection.outlook(ahead, measured, busy, lengths, uncached, processes=processes)
    return findings, inspection.facts(ahead, busy, measured, uncached)


def _check_settings(cfg: DictConfig) -> None:
    if cfg.check.steps < 1 or (cfg.check.files is not None and cfg.check.files < 2):
        raise UserError(
            f"check.steps is {cfg.check.steps} and check.files is {cfg.check.files}, expected at least 1 step, and at "
            "least 2 files or null for all"
        )
    if cfg.check.output is not None:
        refuse_unwritable(Path(cfg.check.output).resolve().parent)


def _one_process(cfg: DictConfig) -> int:
    """Turn a run of several processes into what each of them does; gives their number."""
    devices, nodes = cfg.trainer.get("devices", 1), cfg.trainer.get("num_nodes", 1)
    count = int(devices) * int(nodes) if str(devices).isdecimal() else 1
    if count > 1:
        if cfg.data.batch_size % count:
            raise UserError(f"data.batch_size is {cfg.data.batch_size}, expected a multiple of the {count} processes")
        cfg.data.batch_size //= count
        OmegaConf.update(cfg, "trainer.devices", 1)
        for key, value in {"num_nodes": 1, "strategy": "auto"}.items():
            if key in cfg.trainer:
                OmegaConf.update(cfg, f"trainer.{key}", value)
    # dashboards are not told of a trial
    cfg.logger = {key: node for key, node in (cfg.logger or {}).items() if key == "csv"}
    if cfg.callbacks is not None and "progress" in cfg.callbacks:
        cfg.callbacks.progress = None
    return count


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
