"""Speed of commands, training steps and images, and of a training compared with its forecast."""

import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any, get_args

from restore.io.errors import SettingError
from restore.io.files import read_mapping
from restore.io.temporaries import temporary_folder
from restore.profiling.workload import Line, Workload, median_seconds, run
from restore.training.max_time import max_seconds


def startup(workload: Workload) -> Iterator[Line]:
    """Seconds until a command has shown its settings."""
    for option in (["--help"], ["--cfg", "job"]):
        seconds = median_seconds(lambda: run("restore.fit", *option), workload.runs)  # noqa: B023  called at once
        yield f"fit {' '.join(option)}", f"{seconds:.2f} s"


def data(workload: Workload) -> Iterator[Line]:
    """Cost of making lq from a crop, relative to a training step."""
    import torch

    from restore.ops.resize import resize_8bit

    crop = torch.randint(0, 256, (3, workload.patch_size, workload.patch_size), dtype=torch.uint8)
    lq = workload.batch_size * median_seconds(lambda: resize_8bit(crop, 1 / workload.scale), 7 * workload.runs)
    _kinds_of_attention(workload)
    step = median_seconds(_training_step(workload, channels_last=True), workload.runs)
    yield f"lq of {workload.batch_size} crops of {workload.patch_size} px", f"{1e3 * lq:.1f} ms"
    yield "training step", f"{1e3 * step:.0f} ms"
    yield "share of the step", f"{100 * lq / step:.1f} %"


def step(workload: Workload) -> Iterator[Line]:
    """Training steps: memory layout, precision, and kinds of attention, each as a ratio within this run."""
    kinds = _kinds_of_attention(workload)
    first = median_seconds(_training_step(workload, channels_last=True), workload.runs)
    yield "training step, channels_last, 32 bit", f"{1e3 * first:.0f} ms, {workload.batch_size / first:.1f} samples/s"
    others = {
        "default layout": _training_step(workload, channels_last=False),
        "bf16": _training_step(workload, channels_last=True, bf16=True),
    } | {f"attention {kind}": _training_step(workload, channels_last=True, attention=kind) for kind in kinds[1:]}
    for name, work in others.items():
        seconds = median_seconds(work, workload.runs)
        yield f"training step, {name}", f"{1e3 * seconds:.0f} ms, {seconds / first:.2f} of the first"


def _kinds_of_attention(workload: Workload) -> list[str]:
    """The kinds of attention, the model's own first; refuses a network that trains in stages, which has none."""
    parameters = inspect.signature(workload.model_class).parameters
    if "attention" not in parameters:
        raise SettingError(
            "model",
            workload.model_class.__name__,
            "one with kinds of attention to compare (super_resolution, deblur)",
            "`restore check model=...` measures a step of each stage of any model",
        )
    own = str(workload.model_arguments["attention"])
    return [own, *(kind for kind in get_args(parameters["attention"].annotation) if kind != own)]


def _training_step(
    workload: Workload, *, channels_last: bool, bf16: bool = False, **changes: Any
) -> Callable[[], object]:
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = workload.build(**changes).network.to(memory_format=layout)
    forward = network.traceable()  # does not change the memory layout
    optimizer = torch.optim.Adam(network.parameters())
    side = workload.patch_size // workload.scale
    lq = torch.rand(workload.batch_size, 3, side, side).contiguous(memory_format=layout)
    gt = torch.rand(workload.batch_size, 3, workload.patch_size, workload.patch_size)

    def work() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = (forward(lq) - gt).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return work


def inference(workload: Workload) -> Iterator[Line]:
    """One image through the network with each kind of attention, as a ratio within this run."""
    import torch

    lq = torch.rand(1, 3, workload.side, workload.side)
    first = 0.0
    for kind in _kinds_of_attention(workload):
        model = workload.build(attention=kind).eval()
        with torch.inference_mode():
            seconds = median_seconds(lambda: model(lq), workload.runs)  # noqa: B023  called at once
        first = first or seconds
        what = f"image of {workload.side}x{workload.side} px, attention {kind}"
        yield what, f"{1e3 * seconds:.0f} ms, {seconds / first:.2f} of the first"


def forecast(workload: Workload) -> Iterator[Line]:
    """The forecast of ``restore check`` for a short training, and the time of ``restore fit``, in new processes."""
    settings = [*workload.model_overrides, f"trainer.max_steps={workload.steps}"]
    with temporary_folder("restore_benchmark_") as folder:
        found, trained = folder / "found.json", folder / "run"
        run("restore.check", *settings, f"check.output={found}")
        run("restore.fit", *settings, f"hydra.run.dir={trained}")
        seconds = read_mapping(found)["forecast"]["seconds"]
        ahead = sum(float(seconds[part]) for part in ("start", "steps", "validation", "checkpoints"))
        actual = float(read_mapping(trained / "result.json")["seconds"])
    yield f"training of {workload.steps} steps, forecast", f"{ahead:.1f} s"
    yield f"training of {workload.steps} steps, actual", f"{actual:.1f} s; forecast / actual {ahead / actual:.2f}"


def slot(workload: Workload) -> Iterator[Line]:
    """Trainings with ``trainer.max_time``: fraction of that time the command takes, and of the chosen steps done."""
    for max_time in workload.slots:
        whole = max_seconds(max_time, "slots")
        assert whole is not None  # a list holds times
        with temporary_folder("restore_benchmark_") as folder:
            settings = [*workload.model_overrides, f"trainer.max_time={max_time}", f"hydra.run.dir={folder / 'run'}"]
            started = time.perf_counter()
            run("restore.fit", *settings)
            seconds = time.perf_counter() - started
            steps = read_mapping(folder / "run" / "result.json")["steps"]
            chosen = read_mapping(folder / "run" / "config.yaml")["trainer"]["max_steps"]
        share = f"{seconds:.1f} s, {seconds / whole - 1:+.1%} of it; {steps} of {chosen} steps"
        yield f"training with trainer.max_time={max_time}", share
