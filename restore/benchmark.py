"""``restore benchmark``: measures speed and memory, each next to a reference value."""

import functools

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig

from restore.config.build import build
from restore.config.command import command
from restore.io.errors import SettingError
from restore.profiling.measurements import MEASUREMENTS
from restore.profiling.workload import Workload


def benchmark(cfg: DictConfig) -> None:
    """Make the requested measurements and print a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    _check_settings(cfg)
    workload = _workload(cfg)
    table = Table("measurement", "result", box=None)
    for what in cfg.what:
        for line in MEASUREMENTS[what](workload):
            table.add_row(*map(Text, line))
    Console().print(table)


def _check_settings(cfg: DictConfig) -> None:
    """Refuse impossible sizes and numbers; the model checks the rest."""
    if cfg.runs < 1:
        raise SettingError("runs", cfg.runs, "how often each thing is timed, at least 1")
    if len(cfg.image_size) != 2 or min(cfg.image_size) < 1:
        raise SettingError(
            "image_size", list(cfg.image_size), "height and width in pixels, at least 1", "set image_size=[720,1280]"
        )
    for name in ("steps", "batch_size", "side"):
        if cfg[name] < 1:
            raise SettingError(name, cfg[name], "at least 1")
    scale = cfg.model.get("scale", 1)
    if cfg.patch_size < scale or cfg.patch_size % scale:
        raise SettingError("patch_size", cfg.patch_size, f"a multiple of model.scale={scale}")
    for name, unit in {"sides": "pixels", "budgets_gb": "GiB"}.items():
        if not cfg[name] or min(cfg[name]) <= 0:
            raise SettingError(name, list(cfg[name]), f"one or more {unit}, above 0")
    if not cfg.what or not set(cfg.what) <= MEASUREMENTS.keys():
        raise SettingError("what", list(cfg.what), f"one or more measurements of {', '.join(MEASUREMENTS)}")


def _workload(cfg: DictConfig) -> Workload:
    height, width = cfg.image_size
    overrides = HydraConfig.get().overrides.task
    return Workload(
        build=functools.partial(build, cfg.model, "model"),
        model_class=get_object(cfg.model._target_),
        model_arguments=dict(cfg.model),
        model_overrides=[each for each in overrides if each.lstrip("+~").startswith("model")],
        runs=cfg.runs,
        steps=cfg.steps,
        batch_size=cfg.batch_size,
        patch_size=cfg.patch_size,
        side=cfg.side,
        sides=list(cfg.sides),
        image_size=(height, width),
        budgets_gb=list(cfg.budgets_gb),
        slots=list(cfg.slots),
        memory_gb=cfg.memory_gb,
        ckpt_path=cfg.ckpt_path,
    )


main = command(benchmark, "benchmark")

if __name__ == "__main__":
    main()
