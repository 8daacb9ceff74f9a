"""Where the configuration comes from, what its root must look like, and how objects are built from it.

With the commands this is the only file that knows Hydra. It imports nothing heavy, so that
``--help`` and ``--cfg job`` answer at once.
"""

import difflib
import errno
import functools
import hashlib
import inspect
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

ALLOWED_TARGETS = ("restore.", "lightning.pytorch.")


@dataclass
class CheckpointConfig:
    """How often a run is saved, and whether its checkpoints go to the dashboard."""

    every_steps: int = 100
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
    """What ``restore check`` knows beside a run's own settings."""

    steps: int = 12
    files: int | None = None
    known_counts: bool = True
    output: str | None = None


# Root of ``restore check``: what is missing here overrides nothing of conf/fit.yaml, which is composed before it.
CheckConfig = make_dataclass(
    "CheckConfig",
    [
        *((each.name, each.type, MISSING) for each in fields(FitConfig)),
        ("check", CheckSettings, field(default_factory=CheckSettings)),
    ],
    bases=(FitConfig,),
)


@dataclass
class InferenceConfig:
    """What ``evaluate`` and ``predict`` share."""

    ckpt_path: str = "zero_shot"
    scale: float | None = None
    weights: str = "ema"
    device: str = "auto"
    precision: str = "32"
    tile: str = "auto"
    tile_overlap: int = 32
    memory_gb: float = 4.0
    pool_window: int | None = None
    self_ensemble: str = "auto"
    seed: int = 0
    max_seconds: float | None = None
    devices: int = 1
    threads: int | None = None
    zero_shot: Any = MISSING


@dataclass
class EvaluateConfig(InferenceConfig):
    """Root of ``restore evaluate``."""

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
    max_mb: float = 1.0
    max_side: int = 2048
    max_output_side: int = 8192
    part_side: int = 96
    timeout: float = 300.0
    queue: int = 16
    jobs_per_client: int = 4
    requests_per_minute: int = 600
    read_seconds: float = 10.0
    patience: float = 90.0
    keep_seconds: float = 300.0
    base64: bool = False
    behind_proxy: bool = False


@dataclass
class AverageFramesConfig:
    """Root of ``restore average_frames``."""

    input: str = MISSING
    output: str = MISSING
    frames: int = 7


@dataclass
class BenchmarkConfig:
    """Root of ``restore benchmark``."""

    what: list[str] = MISSING
    model: Any = MISSING
    batch_size: int = 16
    patch_size: int = 96
    runs: int = 7
    side: int = 256
    sides: list[int] = MISSING
    picture: list[int] = MISSING
    budgets_gb: list[float] = MISSING
    memory_gb: float = 4.0
    ckpt_path: str | None = None


for _name, _schema in {
    "fit": FitConfig,
    "check": CheckConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "export": ExportConfig,
    "serve": ServeConfig,
    "benchmark": BenchmarkConfig,
    "average_frames": AverageFramesConfig,
}.items():
    ConfigStore.instance().store(name=f"{_name}_schema", node=_schema)


def _run_id(given: str | None) -> str:
    """The given id, else the cluster job's, else the time of start."""
    return (given and _plain("run_id", given)) or os.environ.get("SLURM_JOB_ID") or time.strftime("%Y-%m-%d_%H-%M-%S")


def _plain(setting: str, given: str) -> str:
    """A name that becomes a folder, as it is: it must not lead elsewhere."""
    if Path(given).name != given or given == "..":
        raise ValueError(f"{setting} is {given}, expected a plain name without slashes")
    return given


def _method(target: str) -> str:
    """The method's stem in ``restore.models.<method>.<Class>``."""
    return target.split(".")[-2]


def _folder_name(overrides: str) -> str:
    """The folder of a sweep's point: its overrides, made one short name."""
    name = overrides.replace("/", "_") or "point"
    if len(name.encode()) <= 100:
        return name
    return f"{name.encode()[:90].decode(errors='ignore')}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _check_folder() -> str:
    """Where a check tries things, in place of a run folder; only named here, made and removed by the command."""
    return str(Path(tempfile.gettempdir()) / f"restore_check_{os.getpid()}_{time.time_ns()}")


# cached: every interpolation of one process must see the same time
OmegaConf.register_new_resolver("run_id", _run_id, use_cache=True, replace=True)
OmegaConf.register_new_resolver("plain_name", functools.partial(_plain, "name"), replace=True)
OmegaConf.register_new_resolver("method", _method, replace=True)
OmegaConf.register_new_resolver("folder_name", _folder_name, replace=True)
OmegaConf.register_new_resolver("check_folder", _check_folder, use_cache=True, replace=True)


def conf_dir() -> str:
    """Absolute path of the shipped configuration: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "fit.yaml").is_file():
            return str(folder)
    raise FileNotFoundError(f"no conf folder in or beside {package}; reinstall the package")


class UserError(Exception):
    """Ends a command with its message and exit status 1."""


# what a user can cause; anything else is a defect of ours and shows its traceback
USER_ERRORS = (ValueError, OSError, FloatingPointError, UserError)


def command(
    task: Callable[[DictConfig], Any],
    config_name: str,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Callable[[], None]:
    """Turn a function of a composed configuration into a command.

    Args:
        task: the function. config_name: of its primary file. around: entered around all of it, a sweep's points too.

    Anything a user can get wrong ends in one sentence on stderr and exit status 1. ``HYDRA_FULL_ERROR=1`` shows the
    traceback as well.
    """
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"

    def fail(error: BaseException) -> NoReturn:
        sys.stderr.write(f"{config_name}: {sentence(error)}\n(HYDRA_FULL_ERROR=1 shows where it happened)\n")
        sys.exit(1)

    @functools.wraps(task)
    def job(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except USER_ERRORS as error:
            if full_error or HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            fail(error)  # from here, because Hydra would first print all overrides

    def main() -> None:
        with _environment(HYDRA_FULL_ERROR="1"):  # Hydra then hands its exceptions to us instead of printing them
            try:
                with around():
                    hydra.main(version_base="1.3", config_path=conf_dir(), config_name=config_name)(job)()
            except (*USER_ERRORS, HydraException, OmegaConfBaseException) as error:
                if full_error:
                    raise
                fail(error)
            except KeyboardInterrupt as interrupt:
                sys.stderr.write(f"{config_name}: interrupted. {interrupt}\n")
                sys.exit(130)

    return main


@contextmanager
def _environment(**changes: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def sentence(error: BaseException) -> str:
    """What went wrong, without the traceback, and where possible with the setting that was meant."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.parent_node is not None:
            return _unknown_key(cause)
        cause = cause.__cause__
    inner = error.__cause__ if isinstance(error, ConfigCompositionException) and error.__cause__ else error
    if isinstance(error, MissingConfigException) and error.options:
        return f"there is no {error.missing_cfg_file}; choose one of {', '.join(error.options)}"
    if isinstance(inner, OverrideParseException):
        return f"{inner.override} cannot be read; quote what holds special characters: 'input=\"my photo (1).jpg\"'"
    if "group override must be a string or a list" in str(inner):
        return "a group cannot be null; leave it out with a tilde, for example ~logger"
    if isinstance(inner, OSError) and inner.errno in (errno.ENOSPC, errno.EDQUOT):
        file = f"{inner.filename} " if inner.filename else "a file "
        return (
            f"{file}could not be written ({inner.strerror}); what was finished before is untouched: make room, then "
            "start the same command again"
        )
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    if isinstance(inner, MissingMandatoryValue):
        return f"{inner.full_key} is not set, and has no default; give it a value"
    if isinstance(inner, OmegaConfBaseException):
        key = inner.full_key or "a setting"
        missing = re.search(r"Environment variable '(\w+)' not found", lines[0])
        if missing:
            return f"{key} needs the environment variable {missing[1]}; export {missing[1]}=<the folder of the data>"
        return f"{key}: {lines[0]}; give it another value"
    return "\n  ".join(lines)


def _unknown_key(error: OmegaConfBaseException) -> str:
    key, parent = str(error.full_key or error.key), error.parent_node
    known = [str(k) for k in parent] if isinstance(parent, DictConfig) else []
    prefix, _, last = key.rpartition(".")
    close = difflib.get_close_matches(last, known, 1)
    if close:
        return f"{key} is not a setting; did you mean {f'{prefix}.' if prefix else ''}{close[0]}?"
    return f"{key} is not a setting; known are {', '.join(known)}"


def build(node: Any, path: str, **extra: Any) -> Any:
    """Instantiate a part of the configuration: the only place that does.

    Args:
        node: a config with ``_target_`` (or a dict or list of such).
        path: its dotted place, named in errors.
        extra: further constructor arguments.

    Raises:
        ValueError: a target outside ``ALLOWED_TARGETS``, a value of the wrong type; what the constructor raises.
    """
    for place, target in _targets(node, path):
        name = str(target["_target_"])
        if not name.startswith(ALLOWED_TARGETS):
            raise ValueError(f"{place}._target_ is {name}, expected something under {' or '.join(ALLOWED_TARGETS)}")
        if name.startswith("restore."):
            _check_types(hydra.utils.get_object(name), target, place)
    try:
        return hydra.utils.instantiate(node, _convert_="all", **extra)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError | OSError | ImportError):
            raise cause from None  # "from error" would close a circle of causes
        raise ValueError(f"{path}: {str(cause or error).splitlines()[0]}") from error


def arguments(node: DictConfig, path: str, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """The checked constructor arguments of a part of the configuration, for who builds the object later and often."""
    given = OmegaConf.masked_copy(node, [str(key) for key in node if key not in ("_target_", *without)])
    _check_types(hydra.utils.get_object(node["_target_"]), given, path)
    plain: Any = OmegaConf.to_container(given, resolve=True)
    return dict(plain)


def inference_settings(cfg: DictConfig) -> dict[str, Any]:
    """What ``evaluate`` and ``predict`` hand to ``open_restorer``."""
    from restore.inference import Adaptation, Inference

    for name, least in {"devices": 1, "threads": 1}.items():
        if cfg[name] is not None and cfg[name] < least:
            raise ValueError(f"{name} is {cfg[name]}, expected at least {least}")
    if cfg.zero_shot.data.image is not None or not cfg.zero_shot.model.scale == cfg.zero_shot.data.scale == cfg.scale:
        raise ValueError(
            "zero_shot.data.image, zero_shot.data.scale or zero_shot.model.scale is set, expected none of them: the "
            "picture comes from input or benchmarks; set scale instead"
        )
    model = arguments(cfg.zero_shot.model, "zero_shot.model", without=["scale"])
    data = arguments(cfg.zero_shot.data, "zero_shot.data", without=["image", "scale"])
    adaptation = Adaptation(
        max_steps=cfg.zero_shot.max_steps, max_seconds=cfg.max_seconds, seed=cfg.seed, model=model, data=data
    )
    inference = Inference(**{name: cfg[name] for name in Inference.names()})
    return {"scale": cfg.scale, "inference": inference, "adaptation": adaptation}


def _targets(node: Any, path: str) -> Iterator[tuple[str, DictConfig]]:
    if OmegaConf.is_dict(node):
        if "_target_" in node:
            yield path, node
        for key in node:
            yield from _targets(node[key], f"{path}.{key}")
    elif OmegaConf.is_list(node):
        for k, item in enumerate(node):
            yield from _targets(item, f"{path}[{k}]")


def _check_types(target: Any, node: DictConfig, path: str) -> None:
    """Hold plain values against the constructor's annotations."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    function = target.__init__ if inspect.isclass(target) else target
    for key, parameter in inspect.signature(function).parameters.items():
        hint = parameter.annotation
        if key not in node or hint is inspect.Parameter.empty or isinstance(hint, str) or _holds_targets(node[key]):
            continue
        value = OmegaConf.to_container(node[key], resolve=True) if OmegaConf.is_config(node[key]) else node[key]
        try:
            TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, strict=True)).validate_python(value)
        except ValidationError as error:
            # one for each type of a union; which of them was meant nobody knows
            details = dict.fromkeys(each["msg"][0].lower() + each["msg"][1:] for each in error.errors())
            raise ValueError(f"{path}.{key} is {value!r}: {', or '.join(details)}") from error


def _holds_targets(value: Any) -> bool:
    return any(True for _ in _targets(value, ""))
