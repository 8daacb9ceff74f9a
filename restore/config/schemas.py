"""Schemas of the commands' root configurations: keys, types, defaults.

Hydra finds a schema by its name, as in the first line of ``defaults`` in ``conf/fit.yaml``. Groups below the root are
checked against the signatures of the classes they build, see :mod:`restore.config.build`.
"""

import inspect
import re
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from restore.config.inference import Inference, ZeroShotTraining


@dataclass
class CheckpointConfig:
    """How often a run is saved, which weights it keeps, and whether its checkpoints go to the dashboard."""

    every_steps: int = 100
    keep: str | None = None
    artifacts: bool = False


@dataclass
class FitConfig:
    """Root of ``restore fit``. Groups below it are checked against the signatures of what they build."""

    model: Any = MISSING
    data: Any = MISSING
    trainer: Any = MISSING
    logger: Any = None
    callbacks: Any = None
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    seed: int = 0
    name: str = MISSING
    run_id: str | None = None
    run_token: str | None = None
    resume: str = "auto"
    init_from: str | None = None
    threads: int | None = None
    val_every_steps: int = 100


@dataclass
class CheckSettings:
    """Settings of ``restore check`` in addition to those of a run."""

    steps: int = 12
    files: int | None = None
    known_counts: bool = True
    output: str | None = None


# Root of ``restore check``; MISSING, so that the fields do not override conf/fit.yaml, which is composed before it.
CheckConfig = make_dataclass(
    "CheckConfig",
    [
        *((each.name, each.type, MISSING) for each in fields(FitConfig)),
        ("check", CheckSettings, field(default_factory=CheckSettings)),
    ],
    bases=(FitConfig,),
)


@dataclass
class ZeroShotConfig:
    """How ``ckpt_path=zero_shot`` trains; ``model`` and ``data`` as in ``restore fit model=zero_shot``."""

    max_steps: int | None = ZeroShotTraining.max_steps
    start: str = ZeroShotTraining.start
    start_share: float | None = ZeroShotTraining.start_share
    degradation: str = ZeroShotTraining.degradation
    model: Any = MISSING
    data: Any = MISSING


@dataclass
class InferenceConfig(Inference):
    """Settings that ``evaluate``, ``predict`` and ``serve`` share.

    Attributes:
        ckpt_path: a checkpoint file, the name of shipped weights, third-party weights, ``auto``, ``zero_shot``,
            ``bicubic`` or ``identity``.
        scale: None: that of the checkpoint; ``zero_shot`` and ``bicubic`` need one.
        seed: random seed of ``zero_shot``.
        max_seconds: for one image, with ``zero_shot``: steps and views are planned to fit.
        devices: processes that share the images; on GPUs each process takes one.
        threads: per process; None: the cores divided among them. Identical output needs the same number.
    """

    ckpt_path: str = "auto"
    scale: float | None = None
    seed: int = ZeroShotTraining.seed
    max_seconds: float | None = ZeroShotTraining.max_seconds
    devices: int = 1
    threads: int | None = None
    zero_shot: ZeroShotConfig = field(default_factory=ZeroShotConfig)


@dataclass
class EvaluateConfig(InferenceConfig):
    """Root of ``restore evaluate``."""

    ckpt_path: str = MISSING
    benchmarks: Any = MISSING
    data: Any = MISSING
    protocol: str = "auto"
    baseline: str | None = "auto"
    output: str | None = None
    save_images: bool = False
    lpips_weights: str | None = None
    inception_weights: str | None = None


@dataclass
class PredictConfig(InferenceConfig):
    """Root of ``restore predict``."""

    input: str = MISSING
    output: str | None = None
    format: str | None = None
    quality: int | None = None
    metadata: str = "strip"


@dataclass
class ExportConfig:
    """Root of ``restore export``."""

    ckpt_path: str = MISSING
    model: Any = None
    format: str = "onnx"
    output: str | None = None
    weights: str = "ema"
    opset: int = 18
    strict: bool = True


@dataclass
class ServeConfig(InferenceConfig):
    """Root of ``restore serve``."""

    ckpt_path: Any = MISSING
    host: str = "127.0.0.1"
    port: int = 7860
    max_mb: float | None = None
    max_side: int | None = None
    max_output_side: int | None = None
    part_side: int = 96
    timeout: float | None = None
    queue: int = 16
    jobs_per_client: int = 4
    requests_per_minute: int = 600
    read_seconds: float = 10.0
    patience: float = 90.0
    keep_seconds: float = 300.0
    keep_mb: float = 1000.0
    base64: bool = False
    behind_proxy: bool = False


@dataclass
class AverageFramesConfig:
    """Root of ``restore average_frames``."""

    input: str = MISSING
    output: str = MISSING
    frames: int = 7


@dataclass
class ContoursConfig:
    """Root of ``restore contours``; see :class:`restore.degradations.basic.Canny`."""

    input: str = MISSING
    output: str | None = None
    side: int | None = 128
    sigma: float = 1.0
    low: float = 0.15
    high: float = 0.3
    thickness: int = 2
    dark: bool = True


@dataclass
class BenchmarkConfig:
    """Root of ``restore benchmark``."""

    what: list[str] = MISSING
    model: Any = MISSING
    batch_size: int = 16
    patch_size: int = 96
    runs: int = 7
    steps: int = 400
    side: int = 256
    sides: list[int] = MISSING
    image_size: list[int] = MISSING
    budgets_gb: list[float] = MISSING
    slots: list[str] = MISSING
    memory_gb: float = 4.0
    ckpt_path: str | None = None


SCHEMAS = {
    "fit": FitConfig,
    "check": CheckConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "export": ExportConfig,
    "serve": ServeConfig,
    "benchmark": BenchmarkConfig,
    "average_frames": AverageFramesConfig,
    "contours": ContoursConfig,
}


def comments(command: str) -> dict[str, str]:
    """Descriptions of a command's settings by name, from ``Attributes`` in the docstrings of its schema's classes."""
    found: dict[str, str] = {}
    for each in reversed(SCHEMAS[command].__mro__):
        listed = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
        for entry in re.findall(r"^    (\w.*(?:\n {5,}.*)*)", listed, re.MULTILINE):
            name, _, text = " ".join(entry.split()).replace("``", "").partition(": ")
            found[name] = text.rstrip(".").replace("None: ", "null: ")
    return found


def register() -> None:
    """Register each schema with Hydra as ``<command>_schema``; calling it again has no effect."""
    for command, schema in SCHEMAS.items():
        ConfigStore.instance().store(name=f"{command}_schema", node=schema)
